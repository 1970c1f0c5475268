//! What a minder does about an order.
//!
//! An order that asks for a start is in two parts: first the workload is found not to run and is
//! kept so, then the files are in their place and it starts. Between the two nothing else is
//! obeyed, so no file changes under a server.

use std::fs;
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::life::Life;
use super::{Minder, Order, Standing, Waiter, failed};
use crate::process::files::{FilesError, Settled, make_folder};
use crate::process::folders::{InstanceFolder, WorkloadFolder};
use crate::process::launch::{Kind, Launch, Print};
use crate::process::record::{self, Record};
use crate::process::state::{Course, End, State};
use crate::process::supervise::pace::Pace;
use crate::process::wire::Answer;

/// How long a workload is kept as it is while its files are written: some hundred KB, on a disk
/// that may be very slow.
const PREPARE_LIMIT: Duration = Duration::from_secs(60);

/// How many workloads of one name may be on their way out at once. More than one is left there
/// only where its removal was cut off.
const DELETED_MAX: u32 = 1000;

impl Minder {
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Ensure { fingerprint, reply } => self.ensure(fingerprint, reply).await,
            Order::Stop { delete, reply } => self.stop(delete, reply).await,
            Order::Resume => {
                if self.unsettled.is_some() && matches!(self.life, Life::Resting) {
                    self.ask().await;
                }
            }
        }
    }

    async fn ensure(&mut self, fingerprint: Print, reply: oneshot::Sender<Standing>) {
        let standing = match &self.life {
            Life::Running(_) => self.standing_of_running(fingerprint),
            Life::Stopping(_) => Standing::Final(failed("its old process cannot be ended")),
            Life::Resting if self.is_done(fingerprint) => Standing::Final(Answer::Ended {
                end: End::Exit(0),
                log_from: self.log_from,
            }),
            Life::Resting | Life::Asking(_) | Life::Waiting(..) => {
                return self.prepare(fingerprint, reply).await;
            }
        };
        // Who has gone away does not wait any more.
        let _ = reply.send(standing);
    }

    fn standing_of_running(&mut self, fingerprint: Print) -> Standing {
        if self.state.fingerprint != Some(fingerprint) {
            let fingerprint = self.state.fingerprint;
            return Standing::Final(Answer::Differs { fingerprint });
        }
        if self.kind() == Kind::Server {
            return Standing::Final(Answer::Running);
        }
        let (waiter, answer) = oneshot::channel();
        self.waiters.push(waiter);
        Standing::Later(answer)
    }

    /// Whether it is a job that has come to a good end with this definition.
    fn is_done(&self, fingerprint: Print) -> bool {
        self.kind() == Kind::Job
            && self.state.course == Course::Over
            && self.state.last == Some(End::Exit(0))
            && self.state.fingerprint == Some(fingerprint)
    }

    /// Keeps the workload as it is until its files are in their place, and starts it then.
    async fn prepare(&mut self, fingerprint: Print, reply: oneshot::Sender<Standing>) {
        self.busy.store(true, Ordering::Relaxed);
        let (ticket, used) = oneshot::channel::<Waiter>();
        if reply.send(Standing::Clear(ticket)).is_err() {
            return;
        }
        let Ok(Ok(waiter)) = timeout(PREPARE_LIMIT, used).await else {
            // Who asked has given up. The workload goes on with what it has.
            return;
        };
        let path = self.folder.launch();
        let launch = spawn_blocking(move || record::read::<Launch>(&path)).await;
        match launch {
            Ok(Record::Present(launch)) if launch.fingerprint == fingerprint => {
                self.launch = Some(launch);
            }
            Ok(Record::Present(_) | Record::Absent | Record::Unreadable(_)) | Err(_) => {
                let _ = waiter.send(failed("its launch.json does not hold what was asked for"));
                return;
            }
        }
        self.waiters.push(waiter);
        self.pace = Pace::default();
        match (self.unsettled, &self.life) {
            (None, _) => self.start(false).await,
            // The guardian is at it, and its verdict goes to who waits.
            (Some(_), Life::Asking(_)) => {}
            (Some(_), Life::Resting | Life::Running(_) | Life::Stopping(_) | Life::Waiting(..)) => {
                self.ask().await;
            }
        }
    }

    async fn stop(&mut self, delete: bool, reply: Waiter) {
        match std::mem::replace(&mut self.life, Life::Resting) {
            Life::Running(run) => {
                // On the disk before the process hears of it: if we are killed now, nobody starts
                // again what was to stop.
                self.rest().await;
                run.process.terminate();
                let mut stop = self.stopping(run.process);
                stop.replies.push((delete, reply));
                self.life = Life::Stopping(stop);
            }
            Life::Stopping(stop) => {
                self.life = Life::Stopping(stop);
                let _ = reply.send(failed("its process cannot be ended"));
            }
            Life::Asking(verdict) => {
                verdict.abort();
                self.rest().await;
                self.finish_stop(delete, reply).await;
            }
            Life::Resting | Life::Waiting(..) => {
                self.rest().await;
                self.finish_stop(delete, reply).await;
            }
        }
    }

    /// The workload is not to run from here on. A job that is over stays what it is.
    async fn rest(&mut self) {
        self.unsettled = None;
        self.tell(&failed("it was told to stop meanwhile"));
        let course = match (self.kind(), &self.state.course) {
            (Kind::Job, Course::Over) => Course::Over,
            (Kind::Job | Kind::Server, _) => Course::Stopped,
        };
        if self.state.course != course {
            self.state.course = course;
            self.save(Settled::Now).await;
        }
    }

    pub(super) async fn finish_stop(&mut self, delete: bool, reply: Waiter) {
        let answer = if delete {
            self.delete().await
        } else {
            Answer::Stopped
        };
        // Before the answer: who has it may ask next whether anything is left to mind.
        self.tell_busy();
        let _ = reply.send(answer);
    }

    async fn delete(&mut self) -> Answer {
        let (instance, folder) = (self.office.folder.clone(), self.folder.clone());
        let name = self.name.to_string();
        let moved = spawn_blocking(move || move_away(&instance, &folder, &name)).await;
        match moved {
            Ok(Ok(())) => {
                self.note("deleted");
                self.launch = None;
                self.state = State::default();
                Answer::Deleted
            }
            Ok(Err(error)) => failed(&error.to_string()),
            Err(error) => failed(&error.to_string()),
        }
    }
}

/// Moves a workload out of the way in one step.
fn move_away(
    instance: &InstanceFolder,
    folder: &WorkloadFolder,
    name: &str,
) -> Result<(), FilesError> {
    let deleted = instance.deleted();
    make_folder(&deleted)?;
    let mut outcome = Ok(());
    for number in 0..DELETED_MAX {
        outcome = fs::rename(folder.path(), deleted.join(format!("{name}.{number}")));
        match &outcome {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Ok(()) | Err(_) => break,
        }
    }
    outcome.map_err(|error: io::Error| FilesError::new("remove", folder.path(), error))
}
