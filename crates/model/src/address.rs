//! Where a node is reached.

use std::fmt;
use std::net::IpAddr;

/// The distance from a node's client port to its cluster bus port, unless the node announces
/// another (redis.conf, `cluster-port`).
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// The address at which a node answers clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeAddress {
    /// The IP address.
    pub ip: IpAddr,
    /// The client port.
    pub port: u16,
}

impl NodeAddress {
    /// The address of this IP and port.
    #[must_use]
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }

    /// Reads `10.0.0.4:6379` or `[::1]:6379`. A name is not an address: who has one resolves it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let address: std::net::SocketAddr = text.parse().ok()?;
        (address.port() != 0).then_some(Self::new(address.ip(), address.port()))
    }

    /// The cluster bus port that belongs to the client port; `None` where it would be over 65535.
    #[must_use]
    pub const fn bus_port(self) -> Option<u16> {
        self.port.checked_add(BUS_PORT_OFFSET)
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", std::net::SocketAddr::new(self.ip, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written() {
        for text in ["10.0.0.4:6379", "[::1]:7000"] {
            assert_eq!(NodeAddress::parse(text).unwrap().to_string(), text);
        }
        for text in ["localhost:6379", "10.0.0.4", "10.0.0.4:0", "10.0.0.4:65536"] {
            assert_eq!(NodeAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bus_port_beyond_the_last_port_is_seen() {
        let address = NodeAddress::parse("10.0.0.4:55536").unwrap();
        assert_eq!(address.bus_port(), None);
        assert_eq!(
            NodeAddress::parse("10.0.0.4:6379").unwrap().bus_port(),
            Some(16379)
        );
    }
}
