//! Reads the answers of INFO: `name:value` lines under `# Section` heads.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::image::{ServerVersion, Software};
use model::view::{ReplicaLink, Replication, ReplicationLink};

/// The fields of an INFO answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Info<'a>(&'a str);

impl<'a> Info<'a> {
    /// The fields of this text.
    pub(crate) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The value of a field.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim_end)
    }

    /// The value of a field that is a whole number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The server's software and version. Valkey keeps `redis_version` at 7.2.4 for old clients
    /// and tells its own as `valkey_version` (since Valkey 8.0, and 7.2.5 by `server_name`).
    pub(crate) fn version(&self) -> Option<ServerVersion> {
        if let Some(version) = self.text("valkey_version") {
            return ServerVersion::parse(Software::Valkey, version);
        }
        let software = match self.text("server_name") {
            Some("valkey") => Software::Valkey,
            Some(_) | None => Software::Redis,
        };
        ServerVersion::parse(software, self.text("redis_version")?)
    }

    /// The number of keys in all databases.
    pub(crate) fn keys(&self) -> u64 {
        self.databases().values().sum()
    }

    /// The number of keys of each database: `db0:keys=12,expires=0,avg_ttl=0`.
    pub(crate) fn databases(&self) -> BTreeMap<u32, u64> {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix("db"));
        lines
            .filter_map(|line| {
                let (number, fields) = line.split_once(":keys=")?;
                let keys = fields.split(',').next()?;
                Some((number.parse().ok()?, keys.parse().ok()?))
            })
            .collect()
    }

    /// The server's part in replication.
    pub(crate) fn replication(&self) -> Option<Replication> {
        match self.text("role")? {
            "master" => Some(Replication::Primary {
                offset: self.number("master_repl_offset").unwrap_or(0),
                replicas: self.replicas(),
            }),
            "slave" => Some(Replication::Replica {
                of: format!(
                    "{}:{}",
                    self.text("master_host").unwrap_or("?"),
                    self.text("master_port").unwrap_or("?")
                ),
                link: self.link(),
                // `slave_repl_offset` is -1 before the first copy.
                offset: self.number("slave_repl_offset").unwrap_or(0),
            }),
            _ => None,
        }
    }

    fn link(&self) -> ReplicationLink {
        if self.text("master_link_status") == Some("up") {
            ReplicationLink::Up
        } else if self.text("master_sync_in_progress") == Some("1") {
            ReplicationLink::Copying
        } else {
            // -1 where the link was never up.
            let seconds = self.number("master_link_down_since_seconds");
            ReplicationLink::Down {
                seconds: seconds.unwrap_or(u64::MAX),
            }
        }
    }

    /// `slave0:ip=10.0.0.4,port=6379,state=online,offset=1234,lag=0`.
    fn replicas(&self) -> Vec<ReplicaLink> {
        let count = self.number("connected_slaves").unwrap_or(0);
        (0..count)
            .map_while(|index| self.text(&format!("slave{index}")))
            .map(|line| {
                let field = |name: &str| {
                    line.split(',')
                        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
                };
                let port = field("port").and_then(|port| port.parse().ok());
                let ip = field("ip").and_then(|ip| ip.parse().ok());
                ReplicaLink {
                    address: ip.zip(port).map(|(ip, port)| NodeAddress::new(ip, port)),
                    online: field("state") == Some("online"),
                    offset: field("offset").and_then(|it| it.parse().ok()).unwrap_or(0),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_with_its_replicas_is_read() {
        let info = Info::new(
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
             slave0:ip=127.77.0.5,port=6379,state=online,offset=98,lag=1\r\n\
             slave1:ip=db.example,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
             master_repl_offset:112\r\n",
        );
        let expected = Replication::Primary {
            offset: 112,
            replicas: vec![
                ReplicaLink {
                    address: NodeAddress::parse("127.77.0.5:6379"),
                    online: true,
                    offset: 98,
                },
                ReplicaLink {
                    address: None,
                    online: false,
                    offset: 0,
                },
            ],
        };
        assert_eq!(info.replication(), Some(expected));
    }

    #[test]
    fn the_three_states_of_a_replicas_link_are_told_apart() {
        for (lines, link) in [
            ("master_link_status:up", ReplicationLink::Up),
            (
                "master_link_status:down\r\nmaster_sync_in_progress:1",
                ReplicationLink::Copying,
            ),
            (
                "master_link_status:down\r\nmaster_sync_in_progress:0\r\n\
                 master_link_down_since_seconds:7",
                ReplicationLink::Down { seconds: 7 },
            ),
            (
                "master_link_status:down\r\nmaster_link_down_since_seconds:-1",
                ReplicationLink::Down { seconds: u64::MAX },
            ),
        ] {
            let text = format!("role:slave\r\nmaster_host:h\r\nmaster_port:1\r\n{lines}\r\n");
            assert_eq!(
                Info::new(&text).replication(),
                Some(Replication::Replica {
                    of: "h:1".to_owned(),
                    link,
                    offset: 0
                }),
                "{lines}"
            );
        }
    }

    #[test]
    fn each_servers_own_version_is_found() {
        for (text, version) in [
            ("redis_version:7.0.15", "redis 7.0.15"),
            (
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2",
                "valkey 9.1.2",
            ),
        ] {
            assert_eq!(Info::new(text).version().unwrap().to_string(), version);
        }
        assert_eq!(Info::new("hello").version(), None);
    }

    #[test]
    fn keys_of_all_databases_are_counted() {
        let text = "# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb3:keys=1,expires=0\r\n";
        assert_eq!(Info::new(text).keys(), 13);
        assert_eq!(
            Info::new(text).databases(),
            BTreeMap::from([(0, 12), (3, 1)])
        );
        assert_eq!(Info::new("# Keyspace\r\n").keys(), 0);
    }
}
