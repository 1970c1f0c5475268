//! What of a server's configuration file matters to the simulation.

use std::time::Duration;

/// The configuration that a server starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServerConfig {
    /// Whether each write is on disk before it is answered, so that a killed process loses none.
    pub(crate) keeps_writes: bool,
    /// Whether it is a node of a cluster.
    pub(crate) is_cluster: bool,
    /// Whether a replica may change its shard by itself.
    pub(crate) allows_replica_migration: bool,
    /// When so many replicas ask for a copy, it begins without the delay; 0 for never.
    pub(crate) sync_replicas_max: usize,
    pub(crate) settings: Settings,
}

/// What can be changed while a server runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) node_timeout: Duration,
    /// How long a primary waits for more replicas before it begins a copy.
    pub(crate) sync_delay: Duration,
}

/// The servers' own defaults.
impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            keeps_writes: false,
            is_cluster: false,
            allows_replica_migration: true,
            sync_replicas_max: 0,
            settings: Settings {
                node_timeout: Duration::from_secs(15),
                sync_delay: Duration::from_secs(5),
            },
        }
    }
}

impl ServerConfig {
    /// Reads a configuration file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.trim().split_once(' ') else {
                continue;
            };
            let number = || value.trim().parse::<u64>().ok();
            let is_yes = value.trim() == "yes";
            match name {
                "appendonly" => config.keeps_writes = is_yes,
                "cluster-enabled" => config.is_cluster = is_yes,
                "cluster-allow-replica-migration" => config.allows_replica_migration = is_yes,
                "repl-diskless-sync-max-replicas" => {
                    let count = number().and_then(|it| usize::try_from(it).ok());
                    config.sync_replicas_max = count.unwrap_or(0);
                }
                "cluster-node-timeout" => {
                    let time = number().map(Duration::from_millis);
                    config.settings.node_timeout = time.unwrap_or(config.settings.node_timeout);
                }
                "repl-diskless-sync-delay" => {
                    let time = number().map(Duration::from_secs);
                    config.settings.sync_delay = time.unwrap_or(config.settings.sync_delay);
                }
                _ => {}
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_matter_are_read_and_the_others_left() {
        let config = ServerConfig::parse(
            "# cluster-enabled no\nport 6379\ncluster-enabled yes\ncluster-node-timeout 2000\n\
             appendonly yes\nrepl-diskless-sync-delay 0\ncluster-allow-replica-migration no\n",
        );
        assert!(config.is_cluster && config.keeps_writes && !config.allows_replica_migration);
        assert_eq!(config.settings.node_timeout, Duration::from_secs(2));
        assert_eq!(config.settings.sync_delay, Duration::ZERO);
        assert_eq!(ServerConfig::parse(""), ServerConfig::default());
    }
}
