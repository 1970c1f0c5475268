//! Containers by the raw API of a Docker daemon, as bare as they can be: what `docker run` of the
//! same containers costs without a client program, and so the floor of what we can reach.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// Where the daemon is.
const SOCKET: &str = "/var/run/docker.sock";

/// How many are made at once: more only raise the time of each.
const AT_ONCE: usize = 4;

/// Containers of a benchmark, in a network of their own; gone when this is dropped.
#[derive(Debug)]
pub struct Engine {
    name: String,
    count: usize,
}

impl Engine {
    /// Room for so many containers, with their network and volumes.
    ///
    /// # Panics
    /// Where the daemon does not do it.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let name = format!("sybench{}", std::process::id());
        let network = json!({"Name": name, "Driver": "bridge", "IPAM": {"Config": [
            {"Subnet": "10.188.0.0/22", "Gateway": "10.188.0.1"}]}});
        ask("POST", "/networks/create", Some(&network));
        Self { name, count }
    }

    /// Makes and starts them all, as servers of one cluster that is not formed.
    pub fn start(&self) {
        self.each(|number| {
            let name = self.container(number);
            let body = json!({
                "Image": "redis:7", "User": "999:999",
                "Cmd": ["redis-server", "--cluster-enabled", "yes", "--appendonly", "yes",
                    "--protected-mode", "no"],
                "HostConfig": {
                    "NetworkMode": self.name, "Memory": 64 << 20, "ReadonlyRootfs": true,
                    "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "PidsLimit": 512,
                    "Mounts": [{"Type": "volume", "Source": name, "Target": "/data"}],
                },
                "NetworkingConfig": {"EndpointsConfig": {&self.name: {
                    "IPAMConfig": {"IPv4Address": address(number).ip().to_string()}}}},
            });
            ask(
                "POST",
                &format!("/containers/create?name={name}"),
                Some(&body),
            );
            ask("POST", &format!("/containers/{name}/start"), None);
        });
    }

    /// Removes them all with their volumes.
    pub fn remove(&self) {
        self.each(|number| {
            let name = self.container(number);
            ask("POST", &format!("/containers/{name}/stop"), None);
            ask("DELETE", &format!("/containers/{name}?force=1"), None);
            ask("DELETE", &format!("/volumes/{name}"), None);
        });
    }

    /// Where they answer.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.count).map(address).collect()
    }

    fn container(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn each(&self, act: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.count {
                            break;
                        }
                        act(number);
                    }
                });
            }
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.remove();
        // The daemon tells that a container is gone before its end of the network is.
        for _ in 0..40 {
            if ask("DELETE", &format!("/networks/{}", self.name), None) < 300 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
    }
}

fn address(number: usize) -> SocketAddr {
    let first = Ipv4Addr::new(10, 188, 0, 2).to_bits();
    let ip = Ipv4Addr::from_bits(first + u32::try_from(number).unwrap());
    SocketAddr::new(ip.into(), 6379)
}

/// Asks the daemon, and gives the status of its answer.
fn ask(method: &str, path: &str, body: Option<&Value>) -> u16 {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let mut stream = UnixStream::connect(SOCKET).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.unwrap_or(0)
}
