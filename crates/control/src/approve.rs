//! Questions to the user before something is done.

use std::fmt::Display;

use model::fault::{Class, Fault};
use model::finding::Finding;
use model::outline::Outline;

/// A question to the user.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Whether this plan is to be carried out.
    Plan {
        /// What it is for: `deliver orders`.
        what: &'a str,
        /// What the plan says, which has something to do.
        plan: &'a Outline,
        /// What should be known before.
        findings: &'a [Finding],
    },
    /// Whether this may be lost for good. The answer is the name, typed.
    Loss {
        /// The instance, or the node by which a cluster is known.
        name: &'a str,
        /// What is lost, one thing a line.
        lost: &'a [String],
    },
}

/// Who answers questions.
pub trait Approver: Send + Sync {
    /// Returns where the answer is yes.
    ///
    /// # Errors
    /// Where the answer is no, or nobody is there to answer.
    fn approve(&self, question: Question<'_>) -> Result<(), Fault>;
}

/// All refusals of a plan as one fault: the first leads, the others follow.
pub(crate) fn refused<R: Display>(refusals: Vec<R>) -> Fault
where
    Fault: From<R>,
{
    let mut refusals = refusals.into_iter();
    let mut fault = refusals.next().map_or_else(
        || {
            let message = "refused without a reason; this is a bug";
            Fault::new("SY4097", Class::Failed, message)
        },
        Fault::from,
    );
    fault
        .detail
        .extend(refusals.map(|refusal| refusal.to_string()));
    fault
}

/// Answers yes to everything: for a simulation.
#[derive(Clone, Copy, Debug)]
pub struct YesToAll;

impl Approver for YesToAll {
    fn approve(&self, _: Question<'_>) -> Result<(), Fault> {
        Ok(())
    }
}
