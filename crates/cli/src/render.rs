//! Turns replies and errors into text for people and JSON for programs.

pub(crate) mod json;
pub(crate) mod text;
pub(crate) mod trib;
