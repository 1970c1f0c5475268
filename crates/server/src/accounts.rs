//! Who may use the server, and who did: users, sessions, tokens and the audit trail, in tables of
//! their own in the state's file. It holds no password and no token, only what proves one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use control::home::Home;
use control::store::Store;
use model::fault::{Class, Fault};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::wire::{AuditEntry, Me, OperationBody, Role};

/// How long a write waits for another process's.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How long a session lasts: a working day.
pub(crate) const SESSION_SECONDS: i64 = 12 * 60 * 60;

/// How many operations and entries are given, and how many operations are kept.
const LISTED_MAX: i64 = 500;
const OPERATIONS_KEPT: i64 = 1000;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS server_user (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS server_session (
    proof TEXT PRIMARY KEY, user TEXT NOT NULL, ends_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS server_token (
    proof TEXT PRIMARY KEY, name TEXT NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS server_audit (
    at TEXT NOT NULL, user TEXT NOT NULL, instance TEXT, what TEXT NOT NULL, outcome TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS server_operation (
    id TEXT PRIMARY KEY, began_at TEXT NOT NULL, record TEXT NOT NULL
) STRICT;
";

/// The users and what they did.
#[derive(Debug)]
pub(crate) struct Accounts {
    connection: Mutex<Connection>,
}

impl Accounts {
    /// Opens them, in the state of this home.
    pub(crate) fn open(home: &Home) -> Result<Self, Fault> {
        // The state is made, or refused, by whom it belongs to.
        drop(Store::open(home)?);
        let connection = Connection::open(home.database()).map_err(|it| broken(&it))?;
        connection
            .busy_timeout(WRITE_LIMIT)
            .map_err(|it| broken(&it))?;
        connection.execute_batch(TABLES).map_err(|it| broken(&it))?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody could log in with a password.
    pub(crate) fn has_users(&self) -> Result<bool, Fault> {
        self.lock()
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM server_user WHERE password IS NOT NULL)",
                [],
                |row| row.get(0),
            )
            .map_err(|it| broken(&it))
    }

    /// All users, by name.
    pub(crate) fn users(&self) -> Result<Vec<Me>, Fault> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut query =
                connection.prepare("SELECT name, role FROM server_user ORDER BY name")?;
            query
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let rows = read().map_err(|it| broken(&it))?;
        Ok(rows
            .into_iter()
            .filter_map(|(user, role)| {
                Some(Me {
                    user,
                    role: role_of(&role)?,
                })
            })
            .collect())
    }

    /// Makes a user, or gives one another role and password, which ends their sessions.
    pub(crate) fn put(&self, me: &Me, password: Option<&str>) -> Result<(), Fault> {
        let hashed = password.map(hash).transpose()?;
        let connection = self.lock();
        connection
            .execute(
                "INSERT INTO server_user (name, role, password) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET role = ?2, password = coalesce(?3, password)",
                params![me.user, role_text(me.role), hashed],
            )
            .and_then(|_| match hashed {
                Some(_) => {
                    connection.execute("DELETE FROM server_session WHERE user = ?1", [&me.user])
                }
                None => Ok(0),
            })
            .map_err(|it| broken(&it))?;
        Ok(())
    }

    /// The user of this name with this password. It takes as long where there is no such user.
    pub(crate) fn check(&self, user: &str, password: &str) -> Result<Option<Me>, Fault> {
        let row: Option<(String, Option<String>)> = self
            .lock()
            .query_row(
                "SELECT role, password FROM server_user WHERE name = ?1",
                [user],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|it| broken(&it))?;
        let (role, kept) = match row {
            Some((role, Some(kept))) => (role_of(&role), kept),
            Some((_, None)) | None => (None, hash("nobody's password")?),
        };
        let parsed = PasswordHash::new(&kept).map_err(|it| no_hash(&it))?;
        let fits = Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok();
        Ok(role.filter(|_| fits).map(|role| Me {
            user: user.to_owned(),
            role,
        }))
    }

    /// Begins a session and gives its secret.
    pub(crate) fn begin(&self, user: &str) -> Result<String, Fault> {
        let secret = secret()?;
        let now = jiff::Timestamp::now().as_second();
        let connection = self.lock();
        connection
            .execute("DELETE FROM server_session WHERE ends_at < ?1", [now])
            .and_then(|_| {
                connection.execute(
                    "INSERT INTO server_session (proof, user, ends_at) VALUES (?1, ?2, ?3)",
                    params![proof(&secret), user, now + SESSION_SECONDS],
                )
            })
            .map_err(|it| broken(&it))?;
        Ok(secret)
    }

    /// Ends a session.
    pub(crate) fn end(&self, secret: &str) -> Result<(), Fault> {
        self.lock()
            .execute(
                "DELETE FROM server_session WHERE proof = ?1",
                [proof(secret)],
            )
            .map_err(|it| broken(&it))?;
        Ok(())
    }

    /// Whose session this is.
    pub(crate) fn of_session(&self, secret: &str) -> Result<Option<Me>, Fault> {
        let now = jiff::Timestamp::now().as_second();
        let row: Option<(String, String)> = self
            .lock()
            .query_row(
                "SELECT u.name, u.role FROM server_session s JOIN server_user u ON u.name = s.user
                 WHERE s.proof = ?1 AND s.ends_at >= ?2",
                params![proof(secret), now],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|it| broken(&it))?;
        Ok(row.and_then(|(user, role)| {
            Some(Me {
                user,
                role: role_of(&role)?,
            })
        }))
    }

    /// Makes a token for scripts and gives it.
    pub(crate) fn make_token(&self, owner: &str, name: &str, role: Role) -> Result<String, Fault> {
        let secret = secret()?;
        self.lock()
            .execute(
                "INSERT INTO server_token (proof, name, user, role) VALUES (?1, ?2, ?3, ?4)",
                params![proof(&secret), name, owner, role_text(role)],
            )
            .map_err(|it| broken(&it))?;
        Ok(secret)
    }

    /// Whose token this is; it may not more than its owner may now.
    pub(crate) fn of_token(&self, secret: &str) -> Result<Option<Me>, Fault> {
        let row: Option<(String, String, String)> = self
            .lock()
            .query_row(
                "SELECT u.name, u.role, t.role FROM server_token t
                 JOIN server_user u ON u.name = t.user WHERE t.proof = ?1",
                [proof(secret)],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(|it| broken(&it))?;
        Ok(row.and_then(|(user, owner, token)| {
            let role = role_of(&owner)?.min(role_of(&token)?);
            Some(Me { user, role })
        }))
    }

    /// Notes who did what.
    pub(crate) fn note(&self, entry: &AuditEntry) -> Result<(), Fault> {
        self.lock()
            .execute(
                "INSERT INTO server_audit (at, user, instance, what, outcome)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    entry.at,
                    entry.user,
                    entry.instance,
                    entry.what,
                    entry.outcome
                ],
            )
            .map_err(|it| broken(&it))?;
        Ok(())
    }

    /// Who did what, newest first: by this server, and by the command line.
    pub(crate) fn audit(&self, instance: Option<&str>) -> Result<Vec<AuditEntry>, Fault> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<AuditEntry>> {
            let mut query = connection.prepare(
                "SELECT at, user, instance, what, outcome FROM server_audit
                 WHERE ?1 IS NULL OR instance = ?1
                 UNION ALL SELECT at, operator, instance, what, 'driver' FROM audit
                 WHERE ?1 IS NULL OR instance = ?1
                 ORDER BY 1 DESC LIMIT ?2",
            )?;
            query
                .query_map(params![instance, LISTED_MAX], |row| {
                    Ok(AuditEntry {
                        at: row.get(0)?,
                        user: row.get(1)?,
                        instance: row.get(2)?,
                        what: row.get(3)?,
                        outcome: row.get(4)?,
                    })
                })?
                .collect()
        };
        read().map_err(|it| broken(&it))
    }

    /// Keeps an operation as it is now.
    pub(crate) fn keep(&self, operation: &OperationBody) -> Result<(), Fault> {
        let record = serde_json::to_string(operation).unwrap_or_default();
        let connection = self.lock();
        connection
            .execute(
                "INSERT INTO server_operation (id, began_at, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET record = ?3",
                params![operation.id, operation.began_at, record],
            )
            .and_then(|_| {
                connection.execute(
                    "DELETE FROM server_operation WHERE id NOT IN
                     (SELECT id FROM server_operation ORDER BY began_at DESC LIMIT ?1)",
                    [OPERATIONS_KEPT],
                )
            })
            .map_err(|it| broken(&it))?;
        Ok(())
    }

    /// The operations that were kept, newest first.
    pub(crate) fn operations(&self) -> Result<Vec<OperationBody>, Fault> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut query = connection
                .prepare("SELECT record FROM server_operation ORDER BY began_at DESC LIMIT ?1")?;
            query.query_map([LISTED_MAX], |row| row.get(0))?.collect()
        };
        let records = read().map_err(|it| broken(&it))?;
        Ok(records
            .iter()
            .filter_map(|it| serde_json::from_str(it).ok())
            .collect())
    }

    /// What was last done with an instance, whoever did it.
    pub(crate) fn last_verb(&self, instance: &str) -> Result<Option<String>, Fault> {
        self.lock()
            .query_row(
                "SELECT verb FROM operation WHERE instance = ?1 ORDER BY id DESC LIMIT 1",
                [instance],
                |row| row.get(0),
            )
            .optional()
            .map_err(|it| broken(&it))
    }
}

/// 32 random bytes as text: what a session and a token are.
pub(crate) fn secret() -> Result<String, Fault> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Fault::new("SY6011", Class::Failed, "the system gives no randomness").with_cause(error)
    })?;
    Ok(hexadecimal(&bytes))
}

/// What is kept of a secret. It has 256 random bits, so a plain hash cannot be turned round.
pub(crate) fn proof(secret: &str) -> String {
    hexadecimal(&Sha256::digest(secret.as_bytes()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(password: &str) -> Result<String, Fault> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| {
        Fault::new("SY6011", Class::Failed, "the system gives no randomness").with_cause(error)
    })?;
    let hashed = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|it| no_hash(&it))?;
    Ok(hashed.to_string())
}

fn no_hash(error: &dyn std::fmt::Display) -> Fault {
    Fault::new("SY6011", Class::Failed, "a password cannot be hashed").with_cause(error)
}

const fn role_text(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

fn role_of(text: &str) -> Option<Role> {
    match text {
        "viewer" => Some(Role::Viewer),
        "operator" => Some(Role::Operator),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

fn broken(error: &rusqlite::Error) -> Fault {
    Fault::new(
        "SY6011",
        Class::Failed,
        "the server's part of the state cannot be used",
    )
    .with_cause(error)
    .with_help("see whether its disk is full and who owns it: shardyard doctor")
}
