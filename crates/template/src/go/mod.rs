//! Go's text/template, as far as config files need it.
//!
//! The engine is gtmpl-ng. Around it stand: a look at the text before it sees it (`action`), so
//! that what it would misread or choke on is refused with a place; limits on time and size; our
//! own functions; and our own messages, because the engine's quote the data, passwords included.

mod action;
mod arithmetic;
mod engine;
mod failure;
mod function;
#[cfg(test)]
mod golden;
mod lookup;
mod text;

pub(crate) use action::scan;
pub(crate) use engine::{Setting, Surroundings, render};
pub(crate) use failure::Failure;
pub use function::{FUNCTIONS, Function};
