//! Commands of a command line elsewhere: who may give which, what becomes an operation, and how
//! their events and questions reach whoever gave them. It decides nothing; the driver does.

mod needs;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as answers};
use std::time::{Duration, Instant};

use control::approve::{Approver, Question};
use control::cancel::Cancel;
use control::{Command, Reply};
use model::event::{Audience, Event};
use model::fault::{Class, Fault};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

pub(crate) use self::needs::{Kind, Needs, limited, needs};
use crate::accounts::secret;
use crate::door::must_have;
use crate::operations::Recorder;
use crate::problem::Problem;
use crate::server::{Server, proof_of, unconfirmed};
use crate::wire::{Answer, Asked, Line, Me, Role};

/// How many lines wait for a reader.
const LINES_WAITING_MAX: usize = 20_000;
/// How long a log waits for a reader who is slow, before its lines are left out.
const READER_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at whether the reader has taken some, or has answered.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How long a person may think about a question.
const QUESTION_LIMIT: Duration = Duration::from_secs(600);

/// The commands that run for a command line elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    running: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    user: String,
    role: Role,
    cancel: Cancel,
    answers: answers::Sender<(u64, Answer)>,
}

impl Running {
    /// Whether a user gave the command, and could give it by the token that is shown now.
    fn is_of(&self, me: &Me) -> bool {
        self.user == me.user && self.role <= me.role
    }
}

impl Commands {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on the answer to a question; it counts only from who gave the command, and could
    /// give it.
    pub(crate) fn answer(&self, me: &Me, id: &str, number: u64, answer: Answer) -> bool {
        let running = self.lock();
        let mine = running.get(id).filter(|it| it.is_of(me));
        mine.is_some_and(|it| it.answers.send((number, answer)).is_ok())
    }

    /// Asks a command to stop, for who gave it.
    pub(crate) fn cancel(&self, me: &Me, id: &str) -> bool {
        let running = self.lock();
        let mine = running.get(id).filter(|it| it.is_of(me));
        mine.inspect(|it| it.cancel.cancel()).is_some()
    }
}

/// A command that runs, and what is told of it.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What happens, up to the reply.
    pub(crate) lines: mpsc::Receiver<Line>,
    /// The wish to stop of a command that is of no use without a reader.
    pub(crate) ends: Option<Cancel>,
}

/// Begins a command for a user.
pub(crate) fn begin(
    server: &Arc<Server>,
    me: &Me,
    command: Command,
    needs: &Needs,
) -> Result<Begun, Problem> {
    must_have(me, needs.role)?;
    let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
    let (id, cancel, recorder) = match needs.kind {
        Kind::Changes => operation(server, me, needs)?,
        Kind::Looks | Kind::Acts => (secret()?.chars().take(16).collect(), Cancel::new(), None),
    };
    let (answers, answered) = answers::channel();
    let running = Running {
        user: me.user.clone(),
        role: needs.role,
        cancel: cancel.clone(),
        answers,
    };
    server.commands.lock().insert(id.clone(), running);
    let is_operation = recorder.is_some();
    let told = Told {
        lines: sender.clone(),
        recorder,
    };
    let questioner = Questioner {
        lines: sender.clone(),
        answers: Mutex::new(answered),
        asked: AtomicU64::new(0),
        cancel: cancel.clone(),
    };
    // There is room: nobody has sent anything yet.
    let _ = sender.try_send(Line::Begun(id.clone()));
    let ends = (!is_operation).then(|| cancel.clone());
    let server = server.clone();
    tokio::spawn(async move {
        let approver = Arc::new(questioner);
        let ended = server.run(command, Arc::new(told), cancel, approver).await;
        server.commands.lock().remove(&id);
        if is_operation {
            server.operations.end(&id, ended.as_ref().map(proof_of));
        }
        // Who has gone away asks anew.
        let _ = sender.send(last(ended)).await;
    });
    Ok(Begun { lines, ends })
}

fn last(ended: Result<Reply, Fault>) -> Line {
    match ended {
        Ok(reply) => Line::Reply(Box::new(reply)),
        Err(fault) => Line::Fault(fault),
    }
}

/// The operation's id, the wish that it stops, and who writes down what happens.
fn operation(
    server: &Arc<Server>,
    me: &Me,
    needs: &Needs,
) -> Result<(String, Cancel, Option<Recorder>), Fault> {
    let about = needs.about.clone().unwrap_or_default();
    let what = (about.as_str(), needs.verb.as_str(), me.user.as_str());
    let (body, cancel) = server.begin_operation(needs.alone.as_ref(), what)?;
    let recorder = Recorder {
        operations: server.operations.clone(),
        hub: server.hub.clone(),
        instance: about,
        id: body.id.clone(),
    };
    Ok((body.id, cancel, Some(recorder)))
}

/// Hands events on to who gave the command, and into the operation's record.
struct Told {
    lines: mpsc::Sender<Line>,
    recorder: Option<Recorder>,
}

impl Audience for Told {
    fn tell(&self, event: Event) {
        match &self.recorder {
            Some(recorder) => {
                recorder.tell(event.clone());
                // A reader that is slow must not hold what changes something.
                let _ = self.lines.try_send(Line::Event(event));
            }
            None => send_patiently(&self.lines, Line::Event(event)),
        }
    }
}

/// Waits for room, on the command's own thread: a log is not to lack lines because its reader is
/// slow.
fn send_patiently(lines: &mpsc::Sender<Line>, line: Line) {
    let began = Instant::now();
    let mut line = line;
    while began.elapsed() < READER_LIMIT {
        match lines.try_send(line) {
            Ok(()) | Err(TrySendError::Closed(_)) => return,
            Err(TrySendError::Full(back)) => line = back,
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// Asks whoever gave the command, and waits for the answer.
struct Questioner {
    lines: mpsc::Sender<Line>,
    answers: Mutex<answers::Receiver<(u64, Answer)>>,
    asked: AtomicU64,
    cancel: Cancel,
}

impl Approver for Questioner {
    fn approve(&self, question: Question<'_>) -> Result<(), Fault> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let asked = Line::Question {
            number,
            question: Asked::from(question),
        };
        send_patiently(&self.lines, asked);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        while began.elapsed() < QUESTION_LIMIT {
            match answers.recv_timeout(LOOK_PAUSE) {
                Ok((of, answer)) if of == number => return taken(question, answer),
                Ok(_) | Err(_) => {}
            }
            if self.cancel.is_cancelled() {
                return Err(interrupted());
            }
            if self.lines.is_closed() {
                return Err(unanswered("who asked for it has gone away"));
            }
        }
        Err(unanswered("nobody has answered within ten minutes"))
    }
}

/// What a person said. What may be lost needs what was typed, whoever compared it already.
fn taken(question: Question<'_>, answer: Answer) -> Result<(), Fault> {
    match (question, answer) {
        (_, Answer::No(fault)) => Err(fault),
        (Question::Plan { .. }, Answer::Yes | Answer::Typed(_)) => Ok(()),
        (Question::Loss { name, .. }, Answer::Typed(typed)) if typed == name => Ok(()),
        (Question::Loss { name, lost }, Answer::Yes | Answer::Typed(_)) => {
            Err(unconfirmed(name, lost.to_vec()))
        }
    }
}

fn interrupted() -> Fault {
    Fault::new(
        "SY4002",
        Class::Interrupted,
        "interrupted by the user; nothing was done",
    )
}

fn unanswered(why: &str) -> Fault {
    Fault::new(
        "SY6019",
        Class::Usage,
        format!("the command had a question, and {why}; nothing was done"),
    )
    .with_help("give the command again, with --yes where nobody is there to answer")
}

#[cfg(test)]
mod tests;
