//! What is amiss with this host: the kernel's settings and limits that servers suffer from, each
//! with why it matters and the command that fixes it. It reads, and never sets anything.

use std::fs;
use std::path::Path;

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::image::ImageRef;
use model::size::ByteSize;
use model::view::ImageView;
use tokio::task::spawn_blocking;

use super::images::Images;
use super::look;

/// The servers that can be delivered, as images of whatever version is there.
const SERVERS: [&str; 2] = ["redis", "valkey/valkey"];

/// The connections that wait to be accepted for which the servers ask (`tcp-backlog`, redis.conf).
const BACKLOG: u64 = 511;

/// The open files that a server needs for its default of 10000 clients, and 32 for itself.
const OPEN_FILES: u64 = 10_032;

/// The bus port of a server at the default port 6379.
const BUS_PORT: u16 = 16_379;

/// Looks at this host, and says what is amiss for the instances of this state folder.
pub(super) async fn examine(home: &Path, images: &Images) -> Vec<Finding> {
    let mut facts = HostFacts::default();
    for image in SERVERS
        .into_iter()
        .filter_map(|name| ImageRef::parse(name).ok())
    {
        match images.view(&image).await {
            ImageView::Server(version) => facts.servers.push(version.to_string()),
            // The first server's is the line to give.
            ImageView::Missing { help, .. } if facts.install.is_empty() => facts.install = help,
            ImageView::Missing { .. } | ImageView::Program => {}
        }
    }
    let home = home.to_owned();
    let looked = spawn_blocking(move || {
        let host = look::host();
        let read = HostFacts {
            // Where the kernel does not say it, nothing is known; no host has none.
            memory_total: Some(host.memory_total).filter(|it| it.as_bytes() > 0),
            memory_available: Some(host.memory_available),
            ..HostFacts::read()
        };
        (read, look::memory_promised(&home))
    });
    // It does not panic; if it did, nothing was read.
    let (read, asked) = looked.await.unwrap_or_default();
    let facts = HostFacts {
        servers: facts.servers,
        install: facts.install,
        ..read
    };
    findings(&facts, asked)
}

/// What was read of a host; what cannot be read is not judged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct HostFacts {
    /// `vm.overcommit_memory`.
    pub(super) overcommit: Option<u64>,
    /// The chosen mode of transparent huge pages.
    pub(super) huge_pages: Option<String>,
    /// `net.core.somaxconn`.
    pub(super) backlog: Option<u64>,
    /// The hard limit of open files.
    pub(super) open_files: Option<u64>,
    /// The ports that the kernel hands out to clients.
    pub(super) client_ports: Option<(u16, u16)>,
    /// All memory.
    pub(super) memory_total: Option<ByteSize>,
    /// The memory that new processes could have now.
    pub(super) memory_available: Option<ByteSize>,
    /// The servers that were found.
    pub(super) servers: Vec<String>,
    /// The command that installs one.
    pub(super) install: String,
}

impl HostFacts {
    /// Reads the kernel's part; memory and servers come from elsewhere.
    pub(super) fn read() -> Self {
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok();
        let number = |name: &str| setting(name)?.trim().parse().ok();
        let huge = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok();
        let ports = setting("net/ipv4/ip_local_port_range");
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            overcommit: number("vm/overcommit_memory"),
            huge_pages: huge.as_deref().and_then(chosen),
            backlog: number("net/core/somaxconn"),
            // No limit at all is not worth a word.
            open_files: limit.maximum,
            client_ports: ports.as_deref().and_then(range),
            ..Self::default()
        }
    }
}

/// The word in brackets: `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What is amiss, the worst first. `asked` is the memory that all instances may use together.
pub(super) fn findings(facts: &HostFacts, asked: ByteSize) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [
        no_server(facts),
        memory(facts, asked),
        overcommit(facts),
        huge_pages(facts),
        backlog(facts),
        open_files(facts),
        client_ports(facts),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn finding(code: &'static str, severity: Severity, message: String, help: String) -> Finding {
    Finding {
        code: Code(code),
        severity,
        subject: "host".to_owned(),
        message,
        help: Some(help),
    }
}

fn no_server(facts: &HostFacts) -> Option<Finding> {
    facts.servers.is_empty().then(|| {
        finding(
            "SY3107",
            Severity::Critical,
            "neither redis-server nor valkey-server is there; nothing can be delivered".to_owned(),
            facts.install.clone(),
        )
    })
}

fn memory(facts: &HostFacts, asked: ByteSize) -> Option<Finding> {
    let total = facts.memory_total?;
    let available = facts.memory_available?;
    (asked > total).then(|| {
        finding(
            "SY3105",
            Severity::Critical,
            format!(
                "the instances may use {asked} together, and the host has {total} ({available} \
                 free now); when they fill up the kernel kills servers"
            ),
            "take an instance down, or deliver with less: --memory".to_owned(),
        )
    })
}

fn overcommit(facts: &HostFacts) -> Option<Finding> {
    let value = facts.overcommit.filter(|value| *value != 1)?;
    Some(finding(
        "SY3101",
        Severity::Warning,
        format!(
            "vm.overcommit_memory is {value}; a server that holds much and forks, to save its data \
             or to feed a replica, can be refused the memory, and then neither works"
        ),
        "echo vm.overcommit_memory=1 | sudo tee /etc/sysctl.d/60-shardyard.conf && \
         sudo sysctl --system"
            .to_owned(),
    ))
}

fn huge_pages(facts: &HostFacts) -> Option<Finding> {
    facts.huge_pages.as_deref().filter(|it| *it == "always")?;
    Some(finding(
        "SY3102",
        Severity::Warning,
        "transparent huge pages are always on; after a fork each write copies 2 MiB instead of \
         4 KiB, which costs memory and stalls clients"
            .to_owned(),
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled   (and the same at \
         boot)"
            .to_owned(),
    ))
}

fn backlog(facts: &HostFacts) -> Option<Finding> {
    let value = facts.backlog.filter(|value| *value < BACKLOG)?;
    Some(finding(
        "SY3103",
        Severity::Warning,
        format!(
            "net.core.somaxconn is {value}; when many clients connect at once, as after a failover, \
             those beyond it are turned away"
        ),
        "echo net.core.somaxconn=1024 | sudo tee -a /etc/sysctl.d/60-shardyard.conf && \
         sudo sysctl --system"
            .to_owned(),
    ))
}

fn open_files(facts: &HostFacts) -> Option<Finding> {
    let value = facts.open_files.filter(|value| *value < OPEN_FILES)?;
    Some(finding(
        "SY3104",
        Severity::Warning,
        format!(
            "a process may open {value} files at most; a server needs {OPEN_FILES} for its 10000 \
             clients, and takes fewer"
        ),
        "echo '* - nofile 65536' | sudo tee /etc/security/limits.d/60-shardyard.conf, then log in \
         anew"
            .to_owned(),
    ))
}

fn client_ports(facts: &HostFacts) -> Option<Finding> {
    let (first, last) = facts.client_ports?;
    (first..=last).contains(&BUS_PORT).then(|| {
        finding(
            "SY3106",
            Severity::Warning,
            format!(
                "the kernel hands out ports {first} to {last} to clients, and the bus port \
                 {BUS_PORT} of a server is among them; now and then it will be taken"
            ),
            "echo 'net.ipv4.ip_local_port_range=32768 60999' | sudo tee -a \
             /etc/sysctl.d/60-shardyard.conf && sudo sysctl --system"
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> HostFacts {
        HostFacts {
            overcommit: Some(1),
            huge_pages: Some("madvise".to_owned()),
            backlog: Some(4096),
            open_files: Some(1_048_576),
            client_ports: Some((32_768, 60_999)),
            memory_total: Some(ByteSize::mib(8192)),
            memory_available: Some(ByteSize::mib(4096)),
            servers: vec!["redis 7.0.15".to_owned()],
            install: "sudo apt install redis-server".to_owned(),
        }
    }

    /// The codes that a host gets which differs from a fit one in this.
    fn check(change: impl FnOnce(&mut HostFacts), expected: &[&str]) {
        let mut facts = fit();
        change(&mut facts);
        let found = findings(&facts, ByteSize::mib(1536));
        let codes: Vec<&str> = found.iter().map(|finding| finding.code.0).collect();
        assert_eq!(codes, expected);
        assert!(found.iter().all(|finding| finding.help.is_some()));
    }

    #[test]
    fn a_fit_host_gets_no_finding_and_each_fault_gets_its_own() {
        check(|_| {}, &[]);
        check(|host| host.overcommit = Some(0), &["SY3101"]);
        check(|host| host.overcommit = Some(2), &["SY3101"]);
        check(
            |host| host.huge_pages = Some("always".to_owned()),
            &["SY3102"],
        );
        check(|host| host.huge_pages = Some("never".to_owned()), &[]);
        check(|host| host.backlog = Some(128), &["SY3103"]);
        check(|host| host.open_files = Some(4096), &["SY3104"]);
        check(
            |host| host.memory_total = Some(ByteSize::mib(1024)),
            &["SY3105"],
        );
        check(
            |host| host.client_ports = Some((10_000, 65_000)),
            &["SY3106"],
        );
        check(|host| host.servers.clear(), &["SY3107"]);
    }

    #[test]
    fn what_cannot_be_read_is_not_judged_and_the_worst_comes_first() {
        let facts = HostFacts {
            servers: vec!["redis 7.0.15".to_owned()],
            ..HostFacts::default()
        };
        assert_eq!(findings(&facts, ByteSize::mib(1)), Vec::new());
        check(
            |host| {
                host.overcommit = Some(0);
                host.servers.clear();
            },
            &["SY3107", "SY3101"],
        );
    }

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(
            chosen("always [madvise] never\n").as_deref(),
            Some("madvise")
        );
        assert_eq!(chosen("odd"), None);
        assert_eq!(range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(range("32768"), None);
    }
}
