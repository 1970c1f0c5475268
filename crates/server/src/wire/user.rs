//! Who uses the server, as it goes over the wire. A password comes in and never goes out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user may do; each may what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Change instances.
    Operator,
    /// Say who may what.
    Admin,
}

/// A login: a name and a password, or the one-time token that the first start printed.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    /// The user's name.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The one-time token: it counts once, and makes its holder the admin.
    pub token: Option<String>,
}

/// Who is asking.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user.
    pub user: String,
    /// What they may do.
    pub role: Role,
}

/// The users.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UserList {
    /// All of them.
    pub users: Vec<Me>,
}

/// A new user, or another password and role for one.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserBody {
    /// What they may do.
    pub role: Role,
    /// The password: 12 characters at least.
    pub password: String,
}

/// A new token for scripts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// What it is for.
    pub name: String,
    /// What it may do; not more than who asks for it.
    pub role: Role,
}

/// A token for scripts; it is shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenMade {
    /// To be sent as `Authorization: Bearer TOKEN`.
    pub token: String,
}

/// Who did what, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditList {
    /// The entries.
    pub entries: Vec<AuditEntry>,
}

/// An entry of the audit trail.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// When, as RFC 3339.
    pub at: String,
    /// Who.
    pub user: String,
    /// The instance, where it is about one.
    pub instance: Option<String>,
    /// What.
    pub what: String,
    /// What came of it: `accepted`, `refused SY6004`, or `cli` for the command line's own.
    pub outcome: String,
}

/// A secret must not end up in a log by way of `{:?}`.
macro_rules! without_secrets {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(stringify!($name))
            }
        }
    )*};
}

without_secrets!(LoginBody, UserBody, TokenMade);
