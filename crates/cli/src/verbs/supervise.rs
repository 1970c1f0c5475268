//! Minds the processes of one instance: started by the process engine, never by a person.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use control::clock::RealClock;
use control::engines::Engines;
use control::guard::Guard;
use control::hands::Hands;
use engines::process::{ProcessEngine, SuperviseSettings};
use model::event::Nobody;
use model::fault::Fault;

use super::Session;
use crate::read;

/// How long a node may take to answer when another has died. On one host an answer takes less than
/// a millisecond; a node that is stopped must not delay the election of another.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

pub(crate) fn run(session: &Session, name: &str) -> Result<ExitCode, Fault> {
    let name = read::instance(name)?;
    let settings = session.settings.process()?;
    let hands = Hands {
        engines: Engines::only(Arc::new(ProcessEngine::new(settings.clone()))),
        nodes: Arc::new(admin::RedisNodes::with_answer_limit(ANSWER_LIMIT)),
        clock: Arc::new(RealClock::new()),
        audience: Arc::new(Nobody),
        cancel: session.cancel.clone(),
    };
    let guard = Guard::new(session.settings.home()?, name.clone(), hands);
    let settings = SuperviseSettings::new(settings.home);
    engines::process::supervise(&settings, &name, Arc::new(guard))?;
    Ok(ExitCode::SUCCESS)
}
