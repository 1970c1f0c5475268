//! Has whoever works on an instance stand still, go on, or end: another process, as a rule.
//!
//! What is wanted of it stands in a file beside its lock. It looks at the file while it works, and
//! takes away what stands there when it begins, so that a word is never for somebody else.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use model::fault::{Class, Fault};
use model::ids::InstanceName;
use serde::{Deserialize, Serialize};

use crate::command::{Control, Reply};
use crate::home::{Home, cannot};
use crate::lock::{self, Operator};

/// How often whoever works looks at what is wanted.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The verbs that move slots, and look.
const HEEDING: [&str; 4] = ["up", "scale", "rebalance", "cancel"];

/// What is wanted of whoever works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// It stands still once the slots that are open have arrived.
    Pause,
    /// It ends once the slots that are open have arrived.
    End,
}

impl Word {
    const fn text(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::End => "end",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Pause, Self::End]
            .into_iter()
            .find(|it| it.text() == text)
    }
}

fn file(home: &Home, name: &InstanceName) -> PathBuf {
    home.instance(name).join("wanted")
}

/// What is wanted of whoever works on an instance; `None` for that it goes on.
#[must_use]
pub fn wanted(home: &Home, name: &InstanceName) -> Option<Word> {
    fs::read_to_string(file(home, name))
        .ok()
        .and_then(|text| Word::read(text.trim()))
}

/// Works, and heeds what others want meanwhile.
pub(crate) async fn heeding<T>(
    control: &Control,
    name: &InstanceName,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    forget(&control.home, name)?;
    let cancel = &control.hands.cancel;
    let listening = async {
        loop {
            control.hands.clock.sleep(LOOK_PAUSE).await;
            let word = wanted(&control.home, name);
            cancel.stand_still(word == Some(Word::Pause));
            if word == Some(Word::End) {
                cancel.cancel();
            }
        }
    };
    let done = match select(pin!(work), pin!(listening)).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => never,
    };
    cancel.stand_still(false);
    forget(&control.home, name)?;
    Ok(done)
}

/// Has whoever works on an instance stand still, or go on.
pub(crate) fn tell(
    control: &Control,
    name: &InstanceName,
    word: Option<Word>,
) -> Result<Reply, Fault> {
    // That there is such an instance.
    control.instance(name)?;
    let operator = lock::holder(&control.home, name).ok_or_else(|| nobody_works(name))?;
    if !HEEDING.contains(&operator.verb.as_str()) {
        return Err(does_not_heed(name, &operator));
    }
    match word {
        None => forget(&control.home, name)?,
        Some(word) => write(&control.home, name, word)?,
    }
    Ok(Reply::Told {
        instance: name.clone(),
        operator,
        word,
    })
}

/// Has whoever works on an instance end, and waits until it has.
pub(crate) async fn end(
    control: &Control,
    name: &InstanceName,
    limit: Duration,
) -> Result<(), Fault> {
    let Some(operator) = lock::holder(&control.home, name) else {
        return Ok(());
    };
    if !HEEDING.contains(&operator.verb.as_str()) {
        return Err(does_not_heed(name, &operator));
    }
    write(&control.home, name, Word::End)?;
    let clock = &control.hands.clock;
    let began = clock.now();
    while lock::holder(&control.home, name).is_some() {
        if control.hands.cancel.is_cancelled() {
            return Err(crate::wait::interrupted());
        }
        if clock.now().saturating_sub(began) >= limit {
            let message = format!(
                "{} of {name} by pid {} does not end within {} s",
                operator.verb,
                operator.pid,
                limit.as_secs()
            );
            return Err(Fault::new("SY4059", Class::NotConverged, message)
                .with_help("it ends once the slots that are open have arrived; try it again"));
        }
        clock.sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

fn write(home: &Home, name: &InstanceName, word: Word) -> Result<(), Fault> {
    let path = file(home, name);
    fs::write(&path, word.text()).map_err(|error| cannot("write", &path, &error))
}

fn forget(home: &Home, name: &InstanceName) -> Result<(), Fault> {
    let path = file(home, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(cannot("remove", &path, &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn nobody_works(name: &InstanceName) -> Fault {
    let message = format!("nobody works on instance {name}");
    Fault::new("SY4058", Class::Refused, message).with_help(format!(
        "shardyard status {name}   shows whether a change is left half-way; `up` goes on with it, \
         `cancel` ends it where it is"
    ))
}

fn does_not_heed(name: &InstanceName, operator: &Operator) -> Fault {
    let message = format!(
        "{} of instance {name} by pid {} is no move of slots, and goes on to its end",
        operator.verb, operator.pid
    );
    Fault::new("SY4058", Class::Refused, message).with_help("it does not take long")
}
