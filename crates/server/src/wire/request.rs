//! What clients ask for. Unknown fields are refused: a mistyped one must not be taken for a
//! default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Deliver an instance, or make it match again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpBody {
    /// The instance's name.
    pub name: String,
    /// A built-in or saved template; left out, an instance keeps its own.
    pub template: Option<String>,
    /// The variables that are set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// `process`, `docker`; left out, the instance's, or the best there is.
    pub engine: Option<String>,
    /// `network`, `host` or `host=ADDRESS`.
    pub expose: Option<String>,
    /// Show the plan only.
    #[serde(default)]
    pub dry_run: bool,
    /// How many seconds it may take to be ready; 600 where left out.
    pub wait_timeout_s: Option<u64>,
}

/// Stop an instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DownBody {
    /// Whether its data goes too; needs `confirm`.
    #[serde(default)]
    pub delete_data: bool,
    /// The instance's name, typed by a person, where something may be lost.
    pub confirm: Option<String>,
    /// Show the plan only.
    #[serde(default)]
    pub dry_run: bool,
}

/// Change an instance's shape.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleBody {
    /// How many shards.
    pub shards: Option<u32>,
    /// How many replicas each.
    pub replicas: Option<u32>,
    /// Other variables that say how many there are.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// The latency that clients may see; 0 for no limit.
    pub max_latency_ms: Option<u32>,
    /// The most keys a second.
    pub max_rate: Option<u32>,
    /// Show the plan only.
    #[serde(default)]
    pub dry_run: bool,
    /// How many seconds it may take to be ready; 600 where left out.
    pub wait_timeout_s: Option<u64>,
    /// The instance's name, where something may be lost.
    pub confirm: Option<String>,
}

/// Give each shard its share.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RebalanceBody {
    /// `slots`, `keys`, `memory` or `load`; `slots` where left out.
    pub by: Option<String>,
    /// The weight of a node's shard; 1 where left out.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
    /// How far from its share a shard may be; 2 where left out.
    pub threshold_percent: Option<u32>,
    /// The latency that clients may see; 0 for no limit.
    pub max_latency_ms: Option<u32>,
    /// The most keys a second.
    pub max_rate: Option<u32>,
    /// Show the plan only.
    #[serde(default)]
    pub dry_run: bool,
    /// How many seconds it may take to be ready; 600 where left out.
    pub wait_timeout_s: Option<u64>,
}

/// Hand a primary's part over to a replica.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailoverBody {
    /// A replica that is to take over, or a primary that is to give way to its best replica.
    pub node: Option<String>,
    /// Bring the primaries back to where they were planned.
    #[serde(default)]
    pub spread: bool,
    /// Show the plan only.
    #[serde(default)]
    pub dry_run: bool,
    /// How many seconds it may take to be ready; 600 where left out.
    pub wait_timeout_s: Option<u64>,
}

/// End a change of size where it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {
    /// Show the plan only.
    #[serde(default)]
    pub dry_run: bool,
    /// How many seconds it may take to be ready; 600 where left out.
    pub wait_timeout_s: Option<u64>,
}

/// Who works on an instance, and was told to stand still or to go on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ToldBody {
    /// The user.
    pub user: String,
    /// What is done: `scale`.
    pub verb: String,
    /// Since when, as RFC 3339.
    pub since: String,
    /// Whether it stands still, once the slots that are open have arrived.
    pub paused: bool,
}

/// One command of redis-cli.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecBody {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// On which workload; left out, on the node that owns the key's slot.
    pub workload: Option<String>,
    /// The instance's name, where the command can lose data or change the cluster.
    pub confirm: Option<String>,
}

/// What a server answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExecAnswer {
    /// The node that answered.
    pub address: String,
    /// Its workload.
    pub workload: String,
    /// The answer as redis-cli writes it.
    pub text: String,
    /// Whether it is an error.
    pub failed: bool,
}
