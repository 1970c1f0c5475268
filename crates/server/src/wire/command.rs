//! What the command line and a server of the same version say to each other: a command goes in, and
//! what happens comes out, a line of JSON for each thing. The driver's own types go as they are,
//! which is why the two versions are compared before anything else (docs/decisions/0005).

use control::Reply;
use control::approve::Question;
use model::event::Event;
use model::fault::Fault;
use model::finding::Finding;
use model::outline::Outline;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The version that both ends must be of.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How many seconds pass at most between two lines: where nothing happens, a line says so.
pub const ALIVE_SECONDS: u64 = 10;

/// A command of the command line.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// The version of the command line; the server's own, or the command is refused.
    pub version: String,
    /// The command, in a form that is the command line's own and changes from version to version.
    #[schema(value_type = Object)]
    pub command: Value,
}

/// The answer to a question that a command has asked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// The question's number.
    pub question: u64,
    /// The answer, in a form that is the command line's own and changes from version to version.
    #[schema(value_type = Object)]
    pub answer: Answer,
}

/// A line of what happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The command runs, and is answered and cancelled by this id.
    Begun(String),
    /// Something happened.
    Event(Event),
    /// Somebody has to answer before it goes on.
    Question {
        /// The question's number.
        number: u64,
        /// The question.
        question: Asked,
    },
    /// It goes on, and there is nothing to say.
    Alive,
    /// What came of it; the last line.
    Reply(Box<Reply>),
    /// What went wrong; the last line.
    Fault(Fault),
}

/// A question of the driver.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Whether this plan is to be carried out.
    Plan {
        /// What it is for.
        what: String,
        /// What the plan says.
        plan: Outline,
        /// What should be known before.
        findings: Vec<Finding>,
    },
    /// Whether this may be lost for good.
    Loss {
        /// What is to be typed.
        name: String,
        /// What is lost.
        lost: Vec<String>,
    },
}

impl Asked {
    /// The question as the driver asks it.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        match self {
            Self::Plan {
                what,
                plan,
                findings,
            } => Question::Plan {
                what,
                plan,
                findings,
            },
            Self::Loss { name, lost } => Question::Loss { name, lost },
        }
    }
}

impl From<Question<'_>> for Asked {
    fn from(question: Question<'_>) -> Self {
        match question {
            Question::Plan {
                what,
                plan,
                findings,
            } => Self::Plan {
                what: what.to_owned(),
                plan: plan.clone(),
                findings: findings.to_vec(),
            },
            Question::Loss { name, lost } => Self::Loss {
                name: name.to_owned(),
                lost: lost.to_vec(),
            },
        }
    }
}

/// An answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The plan is to be carried out.
    Yes,
    /// This was typed, to agree to a loss.
    Typed(String),
    /// No, or nobody could say.
    No(Fault),
}

impl std::fmt::Debug for CommandBody {
    /// A command may hold passwords.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("CommandBody")
    }
}
