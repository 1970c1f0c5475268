//! What an engine and a supervisor say to each other: one line of JSON each way.
//!
//! Both sides may be of different versions, because a supervisor outlives the program that started
//! it: each line says its protocol. No line carries a secret; files are written by the engine.

use serde::{Deserialize, Serialize};

use super::launch::Print;
use super::state::End;

/// The protocol of this version.
pub(crate) const PROTOCOL: u32 = 1;

/// The longest line. The longest there is names the running workloads of an instance, at most some
/// thousand names of 50 bytes.
pub(crate) const LINE_BYTES_MAX: usize = 256 << 10;

/// A line to a supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The protocol of who asks.
    pub(crate) protocol: u32,
    /// What is asked.
    pub(crate) request: Request,
}

/// The part of a line that every protocol has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Version {
    /// The protocol of who asks.
    pub(crate) protocol: u32,
}

/// What is asked of a supervisor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// A workload is to run with the definition of this fingerprint. If it does not run, the
    /// answer is `Clear`: the workload stays as it is until this connection says `Start` or ends.
    Ensure {
        /// The workload.
        workload: String,
        /// The definition.
        fingerprint: Print,
    },
    /// Its files and its launch.json are in their place: it can start.
    Start,
    /// A workload is not to run.
    Stop {
        /// The workload.
        workload: String,
    },
    /// A workload is not to run, and its folder is to be moved away.
    Delete {
        /// The workload.
        workload: String,
    },
    /// Who is there?
    Status,
    /// The supervisor is to end if nothing runs or is to run.
    Shutdown,
}

/// What a supervisor answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Still at it: sent while an answer takes long, so that silence means that nobody is there.
    Wait,
    /// The workload does not run and waits for `Start`.
    Clear,
    /// The workload runs with that definition.
    Running,
    /// The workload runs with another definition.
    Differs {
        /// That of the running one, where it is known.
        fingerprint: Option<Print>,
    },
    /// The workload ended: a job as it should, a server in its first moments.
    Ended {
        /// How.
        end: End,
        /// Where in its log that run begins.
        log_from: u64,
    },
    /// The guardian keeps the workload from starting.
    Held {
        /// Why.
        reason: String,
    },
    /// The workload does not run.
    Stopped,
    /// The workload does not run, and its folder is where it can be removed.
    Deleted,
    /// The supervisor is there.
    Status {
        /// Its process.
        pid: u32,
    },
    /// The supervisor ends.
    Bye,
    /// The supervisor does not end, because these run or are to run; where none does, because
    /// somebody else is speaking to it.
    Busy {
        /// The workloads.
        running: Vec<String>,
    },
    /// The supervisor speaks another protocol.
    OtherProtocol {
        /// That of the supervisor.
        protocol: u32,
        /// Its process.
        pid: u32,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_fixed_because_both_sides_may_be_of_different_versions() {
        let request = Request::Stop {
            workload: "redis-1".to_owned(),
        };
        let line = Envelope {
            protocol: PROTOCOL,
            request,
        };
        let text = r#"{"protocol":1,"request":{"stop":{"workload":"redis-1"}}}"#;
        assert_eq!(serde_json::to_string(&line).unwrap(), text);
        let version: Version = serde_json::from_str(text).unwrap();
        assert_eq!(version.protocol, 1);
        let answer = Answer::Ended {
            end: End::Exit(1),
            log_from: 7,
        };
        let text = r#"{"ended":{"end":{"exit":1},"log_from":7}}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    }
}
