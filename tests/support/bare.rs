//! Servers in cluster mode that nobody but the test has started: a cluster that is not ours.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::wait_until;

/// How long a server may take to listen.
const LIMIT: Duration = Duration::from_secs(30);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Running servers, each at an address of its own; they end when this is dropped.
#[derive(Debug)]
pub struct BareServers {
    program: String,
    children: Vec<Option<Child>>,
    addresses: Vec<String>,
    folder: TempDir,
}

impl BareServers {
    /// So many servers of this program.
    ///
    /// # Panics
    /// Where one does not come up.
    #[must_use]
    pub fn start(program: &str, count: u8) -> Self {
        let settings =
            "cluster-enabled yes\ncluster-node-timeout 3000\nappendonly yes\nsave \"\"\n";
        Self::start_with((program, None), count, settings)
    }

    fn start_with((program, dump): (&str, Option<&Path>), count: u8, settings: &str) -> Self {
        // A second octet that no other test has, and a third for each use in this process.
        let part = std::process::id() % 250;
        let use_of_it = NUMBER.fetch_add(1, Ordering::Relaxed) % 250;
        let mut servers = Self {
            program: program.to_owned(),
            children: Vec::new(),
            addresses: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        for number in 1..=count {
            let ip = format!("127.{}.{part}.{number}", 130 + use_of_it % 60);
            let folder = servers.folder.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            let config = format!("port 6379\nbind {ip}\ncluster-announce-ip {ip}\n{settings}");
            fs::write(folder.join("redis.conf"), config).unwrap();
            if let Some(dump) = dump {
                fs::copy(dump, folder.join("dump.rdb")).unwrap();
            }
            servers.addresses.push(format!("{ip}:6379"));
            servers.children.push(None);
            servers.restart(usize::from(number));
        }
        servers
    }

    /// One server of this program that is in no cluster.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start_single(program: &str) -> Self {
        Self::start_with((program, None), 1, "appendonly yes\nsave \"\"\n")
    }

    /// One server that is in no cluster and starts from this file.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start_from(program: &str, dump: &Path) -> Self {
        let servers = Self::start_with((program, Some(dump)), 1, "save \"\"\n");
        wait_until("a server has read its data", LIMIT, || {
            servers
                .ask::<String>(1, &["INFO", "persistence"])
                .contains("loading:0")
        });
        servers
    }

    /// The address of a server, counted from 1.
    #[must_use]
    pub fn address(&self, number: usize) -> &str {
        &self.addresses[number - 1]
    }

    /// The first so many addresses.
    #[must_use]
    pub fn addresses(&self, count: usize) -> Vec<&str> {
        let first = self.addresses[..count].iter();
        first.map(String::as_str).collect()
    }

    /// Ends a server as `kill -9` does.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill(&mut self, number: usize) {
        let mut child = self.children[number - 1].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a server, with the data that it had.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn restart(&mut self, number: usize) {
        let child = Command::new(&self.program)
            .arg("redis.conf")
            .current_dir(self.folder.path().join(number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.children[number - 1] = Some(child);
        let address = self.addresses[number - 1].clone();
        wait_until("a server listens", LIMIT, || {
            TcpStream::connect(&address).is_ok()
        });
    }

    /// What a server answers to a command.
    ///
    /// # Panics
    /// Where it does not.
    pub fn ask<T: redis::FromRedisValue>(&self, number: usize, words: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://{}", self.address(number))).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut connection).unwrap()
    }
}

impl Drop for BareServers {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
