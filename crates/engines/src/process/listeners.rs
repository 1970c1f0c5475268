//! Who listens where on this host.
//!
//! Whether a port is free is found out by binding to it, without ever listening there. Only when
//! it is not are the kernel's tables read, to name the process that has it.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use super::kernel::processes;

/// The `st` of a listening socket in the kernel's tables (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// What comes of a try to bind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    /// It can be had.
    Free,
    /// Somebody has it.
    Taken,
    /// The address belongs to no interface of this host.
    Elsewhere,
    /// We may not have it: a port below 1024 without the right to it.
    Forbidden,
}

/// Tries whether a server could listen there.
///
/// The socket never listens and is closed at once, and it allows its address to be shared, as the
/// servers' own sockets do: so a server that binds at the same moment is not disturbed.
pub(crate) fn try_port(address: SocketAddr) -> io::Result<Port> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    match bind(&socket, &address) {
        Ok(()) => Ok(Port::Free),
        Err(Errno::ADDRINUSE) => Ok(Port::Taken),
        Err(Errno::ADDRNOTAVAIL) => Ok(Port::Elsewhere),
        Err(Errno::ACCESS) => Ok(Port::Forbidden),
        Err(error) => Err(error.into()),
    }
}

/// A socket that listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listener {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Whose it is, by number.
    pub(crate) user: u32,
    /// The number by which its process is found.
    inode: u64,
}

impl Listener {
    /// Whether it keeps others from listening at this address: it has the address itself or all
    /// of them. An IPv6 socket on all addresses has those of IPv4 too, unless it declined.
    fn blocks(&self, wanted: SocketAddr) -> bool {
        self.address.port() == wanted.port()
            && (self.address.ip().is_unspecified() || self.address.ip() == wanted.ip())
    }
}

/// All sockets that listen.
pub(crate) fn all() -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| parse_table(&table))
        .collect()
}

/// The socket that keeps others from listening there.
pub(crate) fn blocking(listeners: &[Listener], wanted: SocketAddr) -> Option<&Listener> {
    // The one at the very address first: it is the nearer reason.
    let mut blocking: Vec<&Listener> = listeners
        .iter()
        .filter(|listener| listener.blocks(wanted))
        .collect();
    blocking.sort_by_key(|listener| listener.address.ip().is_unspecified());
    blocking.first().copied()
}

/// Reads `/proc/net/tcp` or `tcp6`: `sl local rem st queues timer retrnsmt uid timeout inode …`.
fn parse_table(table: &str) -> Vec<Listener> {
    table.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTENING {
        return None;
    }
    Some(Listener {
        address: parse_address(fields.get(1)?)?,
        user: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Reads `0100007F:18EB`: each 32 bits of the address as a number in the machine's own byte order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for start in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            ip.to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Who has a port, as far as it can be found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortHolder {
    /// Where it listens; it may be all addresses.
    pub address: SocketAddr,
    /// The user, by name where it has one.
    pub user: String,
    /// The process. Another user's is hidden from us.
    pub process: Option<HolderProcess>,
}

/// A process that has a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HolderProcess {
    /// Its number.
    pub pid: i32,
    /// The name of its program.
    pub program: String,
    /// Its folder, where it is a workload of an instance.
    pub workload: Option<PathBuf>,
}

impl PortHolder {
    /// Names the owner of a listening socket.
    pub(crate) fn of(listener: &Listener) -> Self {
        Self {
            address: listener.address,
            user: user_name(listener.user),
            process: process_with_socket(listener.inode),
        }
    }

    /// What to do about it.
    pub(crate) fn way_out(&self) -> String {
        let end = match &self.process {
            Some(HolderProcess {
                workload: Some(folder),
                ..
            }) => format!("stop that instance (its state is in {})", folder.display()),
            Some(HolderProcess { pid, program, .. }) => format!("end {program} (kill {pid})"),
            None => format!("ask {} to end it", self.user),
        };
        if self.address.ip().is_unspecified() {
            format!("have it listen on one address instead of all (bind 127.0.0.1), or {end}")
        } else {
            end
        }
    }
}

impl fmt::Display for PortHolder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(HolderProcess { pid, program, .. }) => {
                write!(out, "{program} (pid {pid}, user {})", self.user)?;
            }
            None => write!(out, "a process of user {}", self.user)?,
        }
        write!(out, " listens on {}", self.address)
    }
}

fn process_with_socket(inode: u64) -> Option<HolderProcess> {
    let link = format!("socket:[{inode}]");
    let has_it = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        descriptors
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == &*link))
    };
    let pid = processes().find(has_it)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(HolderProcess {
        pid,
        program: name.trim().escape_debug().to_string(),
        workload: folder_of_workload(pid),
    })
}

/// The folder of the workload that a process belongs to. Each reads from its workload's lock.
fn folder_of_workload(pid: i32) -> Option<PathBuf> {
    let input = fs::read_link(format!("/proc/{pid}/fd/0")).ok()?;
    let folder = input.parent().filter(|_| input.ends_with("lock"))?;
    folder
        .join("launch.json")
        .is_file()
        .then(|| folder.to_owned())
}

fn user_name(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| user.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TCP: &str = "head\n\
        0: 0101407F:18EB 00000000:0000 0A 0:0 00:0 0 1000 0 55 1 0 100 0 0 10 0\n\
        1: 0100007F:18EB 0100007F:C000 01 0:0 00:0 0    0 0 56 1 0 100 0 0 10 0\n\
        2: 00000000:3FFB 00000000:0000 0A 0:0 00:0 0    0 0 57 1 0 100 0 0 10 0\n";
    const TCP6: &str = "head\n\
        0: 00000000000000000000000000000000:0050 0:0000 0A 0:0 00:0 0 0 0 58 1\n\
        1: 0000000000000000FFFF00000100007F:0051 0:0000 0A 0:0 00:0 0 0 0 59 1\n";

    #[test]
    fn the_kernels_tables_are_read() {
        if cfg!(target_endian = "big") {
            return;
        }
        let found = parse_table(TCP);
        let addresses: Vec<String> = found.iter().map(|each| each.address.to_string()).collect();
        assert_eq!(addresses, ["127.64.1.1:6379", "0.0.0.0:16379"]);
        assert_eq!((found[0].user, found[0].inode), (1000, 55));
        let found = parse_table(TCP6);
        let addresses: Vec<String> = found.iter().map(|each| each.address.to_string()).collect();
        assert_eq!(addresses, ["[::]:80", "127.0.0.1:81"]);
    }

    #[test]
    fn a_socket_on_all_addresses_blocks_each_of_them() {
        let found = parse_table(TCP);
        for (wanted, holder) in [
            ("127.64.1.1:6379", Some("127.64.1.1:6379")),
            ("127.64.1.2:6379", None),
            ("127.64.1.2:16379", Some("0.0.0.0:16379")),
        ] {
            let blocking = blocking(&found, wanted.parse().unwrap());
            let address = blocking.map(|each| each.address.to_string());
            assert_eq!(address.as_deref(), holder, "{wanted}");
        }
    }

    #[test]
    fn a_taken_port_is_seen_and_its_holder_named() {
        let held = TcpListener::bind("127.99.1.1:0").unwrap();
        let address = held.local_addr().unwrap();
        assert_eq!(try_port(address).unwrap(), Port::Taken);
        let listeners = all();
        let holder = PortHolder::of(blocking(&listeners, address).unwrap());
        let pid = holder.process.as_ref().unwrap().pid;
        assert_eq!(u32::try_from(pid).unwrap(), std::process::id());
        assert!(
            holder
                .to_string()
                .ends_with(&format!("listens on {address}"))
        );
        drop(held);
        assert_eq!(try_port(address).unwrap(), Port::Free);
        let elsewhere = "192.0.2.1:6379".parse().unwrap();
        assert_eq!(try_port(elsewhere).unwrap(), Port::Elsewhere);
    }
}
