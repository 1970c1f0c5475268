//! The state: instances, operations with their steps, and an audit trail, in one SQLite file.
//!
//! It says what was asked for, never what is: the truth about a cluster is the cluster. Secrets
//! are not in it; they are files of mode 0600 beside it.

mod record;
mod secrets;

use std::path::Path;
use std::time::Duration;

use model::fault::{Class, Fault};
use model::ids::InstanceName;
use model::instance::Instance;
use model::step::{Outcome, Phase};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::execute::Journal;
use crate::home::Home;

pub use secrets::password_file;

/// The version of the tables. A file of a later version is refused: what it means is unknown here.
const SCHEMA_VERSION: i64 = 1;

/// How long a write waits for another process's. Each is a matter of milliseconds.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE instance (
    name TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE TABLE operation (
    id INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    verb TEXT NOT NULL,
    operator TEXT NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT
) STRICT;
CREATE TABLE step (
    operation INTEGER NOT NULL REFERENCES operation(id),
    phase TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT
) STRICT;
CREATE INDEX step_of_operation ON step (operation);
CREATE TABLE audit (
    at TEXT NOT NULL,
    operator TEXT NOT NULL,
    instance TEXT NOT NULL,
    what TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
";

/// The open state.
#[derive(Debug)]
pub struct Store {
    home: Home,
    connection: Connection,
}

/// An instance as it stands in the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The instance.
    pub instance: Instance,
    /// When it was asked for, as RFC 3339.
    pub created_at: String,
}

impl Store {
    /// Opens the state of a home, made where it is missing.
    ///
    /// # Errors
    /// Where the file cannot be used, or is of a later version.
    pub fn open(home: &Home) -> Result<Self, Fault> {
        let path = home.database();
        let fail = |error| broken(&path, &error);
        // The file holds no secret, but what it tells is nobody else's business.
        private_file(&path)?;
        let mut connection = Connection::open(&path).map_err(fail)?;
        connection.busy_timeout(WRITE_LIMIT).map_err(fail)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(fail)?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(fail)?;
        migrate(&mut connection, &path)?;
        Ok(Self {
            home: home.clone(),
            connection,
        })
    }

    /// Every instance's name, in order.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn names(&self) -> Result<Vec<InstanceName>, Fault> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut query = self
                .connection
                .prepare("SELECT name FROM instance ORDER BY name")?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        let names = read().map_err(|error| self.broken(&error))?;
        Ok(names
            .iter()
            .filter_map(|name| InstanceName::new(name).ok())
            .collect())
    }

    /// An instance; `None` where there is none of this name.
    ///
    /// # Errors
    /// Where the state cannot be read, or a secret's file is gone.
    pub fn load(&self, name: &InstanceName) -> Result<Option<Stored>, Fault> {
        let row: Option<(String, bool, String)> = self
            .connection
            .query_row(
                "SELECT created_at, delivered, record FROM instance WHERE name = ?1",
                [name.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(|error| self.broken(&error))?;
        let Some((created_at, delivered, record)) = row else {
            return Ok(None);
        };
        let instance = record::read(&self.home, name, &record, delivered)?;
        Ok(Some(Stored {
            instance,
            created_at,
        }))
    }

    /// Keeps an instance: its secrets first, so that a record without them is never seen.
    ///
    /// # Errors
    /// Where the state or a secret cannot be written.
    pub fn save(&self, instance: &Instance) -> Result<(), Fault> {
        secrets::write(&self.home, instance)?;
        let record = record::write(instance);
        let now = now();
        self.connection
            .execute(
                "INSERT INTO instance (name, created_at, delivered, record) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET delivered = ?3, record = ?4",
                params![instance.name.as_str(), now, instance.delivered, record],
            )
            .map_err(|error| self.broken(&error))?;
        Ok(())
    }

    /// Forgets an instance and its secrets.
    ///
    /// # Errors
    /// Where the state cannot be written.
    pub fn forget(&self, name: &InstanceName) -> Result<(), Fault> {
        self.connection
            .execute("DELETE FROM instance WHERE name = ?1", [name.as_str()])
            .map_err(|error| self.broken(&error))?;
        secrets::remove(&self.home, name)
    }

    /// Notes who did what.
    ///
    /// # Errors
    /// Where the state cannot be written.
    pub fn audit(&self, operator: &str, instance: &InstanceName, what: &str) -> Result<(), Fault> {
        self.connection
            .execute(
                "INSERT INTO audit (at, operator, instance, what) VALUES (?1, ?2, ?3, ?4)",
                params![now(), operator, instance.as_str(), what],
            )
            .map_err(|error| self.broken(&error))?;
        Ok(())
    }

    /// Begins an operation, whose steps are kept from here on.
    ///
    /// # Errors
    /// Where the state cannot be written.
    pub fn begin(
        &self,
        instance: &InstanceName,
        verb: &str,
        operator: &str,
    ) -> Result<Operation<'_>, Fault> {
        self.audit(operator, instance, verb)?;
        self.connection
            .execute(
                "INSERT INTO operation (instance, verb, operator, began_at) VALUES (?1, ?2, ?3, ?4)",
                params![instance.as_str(), verb, operator, now()],
            )
            .map_err(|error| self.broken(&error))?;
        Ok(Operation {
            store: self,
            id: self.connection.last_insert_rowid(),
        })
    }

    /// Whether the last operation on an instance was this verb and did not come to its end.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn was_cut_off(&self, instance: &InstanceName, verb: &str) -> Result<bool, Fault> {
        let last = self
            .connection
            .query_row(
                "SELECT verb = ?2 AND outcome IS NOT 'done' FROM operation
                 WHERE instance = ?1 ORDER BY id DESC LIMIT 1",
                params![instance.as_str(), verb],
                |row| row.get(0),
            )
            .optional();
        Ok(last.map_err(|error| self.broken(&error))?.unwrap_or(false))
    }

    fn broken(&self, error: &rusqlite::Error) -> Fault {
        broken(&self.home.database(), error)
    }
}

/// An operation under way.
#[derive(Debug)]
pub struct Operation<'s> {
    store: &'s Store,
    id: i64,
}

impl Operation<'_> {
    /// Ends the operation.
    ///
    /// # Errors
    /// Where the state cannot be written.
    pub fn end(&self, outcome: &str) -> Result<(), Fault> {
        self.store
            .connection
            .execute(
                "UPDATE operation SET ended_at = ?2, outcome = ?3 WHERE id = ?1",
                params![self.id, now(), outcome],
            )
            .map_err(|error| self.store.broken(&error))?;
        Ok(())
    }
}

impl Journal for Operation<'_> {
    fn begins(&self, phase: &Phase) -> Result<(), Fault> {
        let now = now();
        let write = || -> rusqlite::Result<()> {
            let transaction = self.store.connection.unchecked_transaction()?;
            let mut insert = transaction.prepare(
                "INSERT INTO step (operation, phase, kind, subject, detail, began_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for step in &phase.steps {
                insert.execute(params![
                    self.id,
                    phase.title,
                    step.kind(),
                    step.subject(),
                    step.detail(),
                    now
                ])?;
            }
            drop(insert);
            transaction.commit()
        };
        write().map_err(|error| self.store.broken(&error))
    }

    fn ended(&self, phase: &Phase, outcome: &Outcome) -> Result<(), Fault> {
        let outcome = match outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Failed(fault) => format!("{}: {}", fault.code, fault.message),
            Outcome::Interrupted => "interrupted".to_owned(),
        };
        self.store
            .connection
            .execute(
                "UPDATE step SET ended_at = ?3, outcome = ?4
                 WHERE operation = ?1 AND phase = ?2 AND ended_at IS NULL",
                params![self.id, phase.title, now(), outcome],
            )
            .map_err(|error| self.store.broken(&error))?;
        Ok(())
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%FT%T%.3fZ").to_string()
}

/// Makes the file with mode 0600 before SQLite makes it with the umask's.
fn private_file(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    file.map(drop)
        .map_err(|error| crate::home::cannot("open", path, &error))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Fault> {
    let fail = |error| broken(path, &error);
    let version = |connection: &Connection| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    match version(connection).map_err(fail)? {
        SCHEMA_VERSION => return Ok(()),
        0 => {}
        later => {
            return Err(Fault::new(
                "SY4011",
                Class::Refused,
                format!(
                    "{} is of version {later}, and this shardyard knows up to {SCHEMA_VERSION}",
                    path.display()
                ),
            )
            .with_help("use the shardyard that wrote it, or a later one; nothing was changed"));
        }
    }
    // Two that begin at once: the second finds the tables made.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    if version(&transaction).map_err(fail)? == 0 {
        transaction.execute_batch(SCHEMA).map_err(fail)?;
    }
    transaction.commit().map_err(fail)
}

fn broken(path: &Path, error: &rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode;
    let help = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "free some room on that disk, then run it again: it goes on from where it is"
        }
        // A full disk shows as this where the file in question is mapped into memory.
        Some(ErrorCode::SystemIoFailure) => {
            "see that its disk is sound and has room; then run it again: it goes on from where it is"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process writes to it for very long; end it, then run this again"
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "it is damaged: put back a copy of it, or name another folder by SHARDYARD_HOME; \
             the clusters themselves are not touched by that"
        }
        _ => "see that the folder can be written, or name another one by SHARDYARD_HOME",
    };
    Fault::new(
        "SY4012",
        Class::Failed,
        format!("the state in {} cannot be used", path.display()),
    )
    .with_cause(error)
    .with_help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        (folder, home)
    }

    #[test]
    fn a_state_of_a_later_version_is_refused_and_left_as_it_is() {
        let (_folder, home) = home();
        drop(Store::open(&home).unwrap());
        let raw = Connection::open(home.database()).unwrap();
        raw.pragma_update(None, "user_version", 2).unwrap();
        drop(raw);
        let before = std::fs::read(home.database()).unwrap();
        let error = Store::open(&home).unwrap_err();
        assert_eq!(error.class, Class::Refused);
        assert!(error.message.contains("of version 2"), "{error}");
        assert_eq!(std::fs::read(home.database()).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_no_state_is_named() {
        let (_folder, home) = home();
        std::fs::write(home.database(), "hello, this is no database at all").unwrap();
        let error = Store::open(&home).unwrap_err();
        assert_eq!(error.code.0, "SY4012");
        assert!(error.message.contains("state.db"), "{error}");
    }

    #[test]
    fn only_a_last_operation_that_did_not_end_well_was_cut_off() {
        let (_folder, home) = home();
        let store = Store::open(&home).unwrap();
        let name = InstanceName::new("orders").unwrap();
        let is_cut_off = || store.was_cut_off(&name, "down").unwrap();
        assert!(!is_cut_off());
        let down = store.begin(&name, "down", "me").unwrap();
        assert!(is_cut_off());
        down.end("interrupted").unwrap();
        assert!(is_cut_off());
        down.end("done").unwrap();
        assert!(!is_cut_off());
        store.begin(&name, "up", "me").unwrap();
        assert!(!is_cut_off());
    }

    #[test]
    fn the_state_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, home) = home();
        let _store = Store::open(&home).unwrap();
        let mode = std::fs::metadata(home.database())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
