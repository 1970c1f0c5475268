//! Empty servers in cluster mode that are up before the clock starts, ended when they are dropped.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;

/// How long servers have been up before the clock starts: longer than the two seconds after a
/// start in which redis-cli would meet a special case.
const WARM_UP: Duration = Duration::from_secs(3);

/// Running servers.
#[derive(Debug)]
pub struct Servers {
    children: Vec<Child>,
    addresses: Vec<SocketAddr>,
    _folder: TempDir,
}

impl Servers {
    /// Starts so many servers, each with an address of its own, and waits until they have been up
    /// for three seconds.
    ///
    /// # Panics
    /// Where one does not come up.
    #[must_use]
    pub fn start(count: usize) -> Self {
        Self::start_of(Path::new("redis-server"), count)
    }

    /// The same of another program.
    ///
    /// # Panics
    /// Where one does not come up.
    #[must_use]
    pub fn start_of(program: &Path, count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut servers = Self {
            children: Vec::new(),
            addresses: Vec::new(),
            _folder: folder,
        };
        for index in 0..count {
            let ip = Ipv4Addr::new(
                127,
                96,
                u8::try_from(index / 250).unwrap(),
                u8::try_from(index % 250 + 1).unwrap(),
            );
            servers.add(program, ip);
        }
        servers.wait();
        servers
    }

    fn add(&mut self, program: &Path, ip: Ipv4Addr) {
        let folder = self._folder.path().join(ip.to_string());
        fs::create_dir(&folder).unwrap();
        let config = format!(
            "port 6379\nbind {ip}\ncluster-announce-ip {ip}\ncluster-enabled yes\n\
             cluster-config-file nodes.conf\nsave \"\"\nappendonly no\n"
        );
        fs::write(folder.join("redis.conf"), config).unwrap();
        let child = Command::new(program)
            .arg("redis.conf")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
        self.addresses.push(SocketAddr::new(IpAddr::V4(ip), 6379));
    }

    fn wait(&self) {
        let began = Instant::now();
        for address in &self.addresses {
            while Client::connect(*address).is_err() {
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "{address} is not up"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        std::thread::sleep(WARM_UP);
    }

    /// Their addresses.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Their addresses as arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
