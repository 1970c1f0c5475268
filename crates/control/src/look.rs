//! Says which instances there are, each in one line.

use model::fault::Fault;
use model::instance::EngineKind;
use plan::check::State;
use serde::{Deserialize, Serialize};

use crate::command::{Control, Reply};
use crate::status::status;

/// An instance in one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: String,
    /// Its platform.
    pub engine: EngineKind,
    /// Its state; `None` where it cannot be told, and `problem` says why.
    pub state: Option<State>,
    /// How many shards it has.
    pub shards: usize,
    /// How many workloads it has.
    pub workloads: usize,
    /// When it was asked for, as RFC 3339.
    pub created_at: String,
    /// Why it cannot be told more.
    pub problem: Option<String>,
}

/// Lists. An instance that cannot be read is listed as such; it does not hide the others.
pub(crate) async fn list(control: &Control) -> Result<Reply, Fault> {
    let store = control.store()?;
    let mut rows = Vec::new();
    for name in store.names()? {
        let mut row = Row {
            name: name.to_string(),
            template: String::new(),
            engine: EngineKind::Process,
            state: None,
            shards: 0,
            workloads: 0,
            created_at: String::new(),
            problem: None,
        };
        match store.load(&name) {
            Ok(Some(stored)) => {
                let instance = stored.instance;
                row.template = instance.spec.template.to_string();
                row.engine = instance.engine;
                row.workloads = instance.layout.seats.len();
                row.created_at = stored.created_at;
                match control.hands.observe(&instance).await {
                    Ok(view) => {
                        let status = status(control, &instance, &view);
                        row.state = Some(status.state);
                        row.shards = status.shards.len();
                    }
                    Err(fault) => row.problem = Some(fault.message),
                }
            }
            Ok(None) => continue,
            Err(fault) => row.problem = Some(fault.message),
        }
        rows.push(row);
    }
    Ok(Reply::List(rows))
}
