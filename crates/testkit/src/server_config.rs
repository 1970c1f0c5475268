//! What of a server's configuration file matters to the simulation.

use std::time::Duration;

/// The configuration that a server starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServerConfig {
    /// Whether each write is on disk before it is answered, so that a killed process loses none.
    pub(crate) keeps_writes: bool,
    /// Whether it is a node of a cluster.
    pub(crate) is_cluster: bool,
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
    /// Whether a node may change its shard by itself.
    pub(crate) allows_replica_migration: bool,
    /// How many replicas must be near for a write to be taken.
    pub(crate) replicas_to_write: usize,
    /// How long one that is near may have been silent.
    pub(crate) replica_lag_max: Duration,
}

impl Settings {
    /// CONFIG GET.
    pub(crate) fn get(self, name: &str) -> Option<String> {
        match name {
            "cluster-node-timeout" => Some(self.node_timeout.as_millis().to_string()),
            "repl-diskless-sync-delay" => Some(self.sync_delay.as_secs().to_string()),
            "cluster-allow-replica-migration" => {
                let text = if self.allows_replica_migration {
                    "yes"
                } else {
                    "no"
                };
                Some(text.to_owned())
            }
            "min-replicas-to-write" => Some(self.replicas_to_write.to_string()),
            "min-replicas-max-lag" => Some(self.replica_lag_max.as_secs().to_string()),
            _ => None,
        }
    }

    /// CONFIG SET. Gives whether there is such a setting and it can have this value.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let number = || value.trim().parse::<u64>().ok();
        let seconds = || number().map(Duration::from_secs);
        let is_set = match name {
            "cluster-node-timeout" => {
                let time = number().map(Duration::from_millis);
                time.map(|time| self.node_timeout = time)
            }
            "repl-diskless-sync-delay" => seconds().map(|time| self.sync_delay = time),
            "cluster-allow-replica-migration" => {
                let is_allowed = match value.trim() {
                    "yes" => Some(true),
                    "no" => Some(false),
                    _ => None,
                };
                is_allowed.map(|it| self.allows_replica_migration = it)
            }
            "min-replicas-to-write" => {
                let count = number().and_then(|it| usize::try_from(it).ok());
                count.map(|count| self.replicas_to_write = count)
            }
            "min-replicas-max-lag" => seconds().map(|time| self.replica_lag_max = time),
            _ => None,
        };
        is_set.is_some()
    }
}

/// The servers' own defaults.
impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            keeps_writes: false,
            is_cluster: false,
            sync_replicas_max: 0,
            settings: Settings {
                node_timeout: Duration::from_secs(15),
                sync_delay: Duration::from_secs(5),
                allows_replica_migration: true,
                replicas_to_write: 0,
                replica_lag_max: Duration::from_secs(10),
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
                "repl-diskless-sync-max-replicas" => {
                    let count = number().and_then(|it| usize::try_from(it).ok());
                    config.sync_replicas_max = count.unwrap_or(0);
                }
                _ => {
                    config.settings.set(name, value);
                }
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
        assert!(
            config.is_cluster && config.keeps_writes && !config.settings.allows_replica_migration
        );
        assert_eq!(config.settings.node_timeout, Duration::from_secs(2));
        assert_eq!(config.settings.sync_delay, Duration::ZERO);
        assert_eq!(ServerConfig::parse(""), ServerConfig::default());
    }
}
