//! Servers, sentinels and proxies that are in no cluster, spoken to by redis-cli: a proxy does not
//! take what a client library says of itself when it connects.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::Shardyard;

impl Shardyard {
    /// Says these lines to who listens there, with the instance's password, and gives the answers,
    /// one a line.
    #[must_use]
    pub fn say(&self, address: &str, lines: &str) -> Vec<String> {
        let (host, port) = address.rsplit_once(':').unwrap();
        let secret = self
            .home()
            .join("instances")
            .join(self.name())
            .join("secrets/PASSWORD");
        let mut command = Command::new("redis-cli");
        command
            .args(["-h", host, "-p", port])
            .env_remove("REDISCLI_AUTH");
        if let Ok(password) = fs::read_to_string(secret) {
            command.env("REDISCLI_AUTH", password);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // Whoever does not answer closes the pipe, and the missing answers say so.
        let _ = input.write_all(lines.as_bytes());
        drop(input);
        let said = child.wait_with_output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        said.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// The address of a workload.
    #[must_use]
    pub fn address(&self, workload: &str) -> String {
        let status = self.status();
        let workloads = status["workloads"].as_array().unwrap();
        let found = workloads.iter().find(|it| it["name"] == workload);
        found
            .and_then(|it| it["address"].as_str().map(str::to_owned))
            .unwrap_or_else(|| panic!("no address of {workload}: {status:#}"))
    }

    /// The address of the primary, as a majority of the sentinels tells it to clients.
    #[must_use]
    pub fn told_primary(&self, sentinels: &[String]) -> Option<String> {
        let question = "sentinel get-master-addr-by-name primary\n";
        let told: Vec<String> = sentinels
            .iter()
            .filter_map(|sentinel| match &self.say(sentinel, question)[..] {
                [ip, port] => Some(format!("{ip}:{port}")),
                _ => None,
            })
            .collect();
        let agree =
            |one: &&String| told.iter().filter(|it| it == one).count() * 2 > sentinels.len();
        told.iter().find(agree).cloned()
    }

    /// A server's role, and for a replica whom it follows and whether the link is up:
    /// `master`, `slave of 10.0.0.2:6379, connected`.
    #[must_use]
    pub fn role(&self, server: &str) -> String {
        match &self.say(server, "role\n")[..] {
            [role, ip, port, link, ..] if role == "slave" => {
                format!("slave of {ip}:{port}, {link}")
            }
            said => said.first().cloned().unwrap_or_default(),
        }
    }
}
