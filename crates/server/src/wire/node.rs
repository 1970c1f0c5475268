//! A node as it goes over the wire: what it says of itself, its settings, its clients and its slow
//! commands.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Node;

/// A node with what it says of itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeDetail {
    /// The node.
    pub node: Node,
    /// Its answer to INFO, as it gave it; null where it does not answer.
    pub info: Option<String>,
    /// Its running configuration without what is secret; null where it does not answer.
    pub config: Option<BTreeMap<String, String>>,
}

/// A node's settings, as they are wanted and as they run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingList {
    /// The config file in the workload that says what is wanted; null where it has none.
    pub file: Option<String>,
    /// The settings of the file and those of the server, by name.
    pub settings: Vec<SettingBody>,
}

/// A setting.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingBody {
    /// Its name.
    pub name: String,
    /// What the file says; null where it says nothing.
    pub wanted: Option<String>,
    /// What the server says; null where it says nothing.
    pub running: Option<String>,
    /// `same`, `differs`, `unset` (not in the file), `untold` (not told by the server), `engine`
    /// (the engine sets it: an address, or a path of the host), `secret` (neither value is shown).
    pub verdict: String,
}

/// A node's clients.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClientList {
    /// How many there are.
    pub total: usize,
    /// The first thousand of them.
    pub clients: Vec<ClientBody>,
}

/// A client of a node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClientBody {
    /// Its number.
    pub id: u64,
    /// Where it comes from.
    pub address: String,
    /// The name that it gave itself.
    pub name: Option<String>,
    /// The user as which it is logged in.
    pub user: Option<String>,
    /// How long it has been connected.
    pub age_s: u64,
    /// How long it has been silent.
    pub idle_s: u64,
    /// The server's signs for what it is: `N` for nothing, `S` for a replica.
    pub flags: String,
    /// Its last command.
    pub command: Option<String>,
    /// The memory that the server has for it.
    pub memory_bytes: Option<u64>,
    /// Its library, where it says so.
    pub lib_name: Option<String>,
}

/// A node's slow commands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SlowLog {
    /// The commands, newest first.
    pub commands: Vec<SlowCommand>,
    /// From how many microseconds on a command is kept; negative for never.
    pub slower_than_us: Option<i64>,
}

/// A slow command.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SlowCommand {
    /// Its number.
    pub id: i64,
    /// When, as RFC 3339.
    pub at: String,
    /// How long it took.
    pub took_us: i64,
    /// Its words as the server kept them, shortened, without passwords.
    pub command: Vec<String>,
    /// Who sent it.
    pub address: Option<String>,
    /// The name that the sender gave itself.
    pub name: Option<String>,
}
