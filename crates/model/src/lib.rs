//! What things are: the nouns that all other crates share.
//!
//! This crate holds values and their rules. It never opens a file or a socket, never asks for the
//! time, and is not serialisable on purpose: each rim (store, JSON, YAML) has its own types and
//! converts by hand, so that a stored or published format never changes by accident. The feature
//! `wire` is the one exception: what a client and a server of the same version say to each other,
//! which is neither stored nor published.

pub mod address;
pub mod command;
pub mod event;
pub mod fault;
pub mod finding;
pub mod ids;
pub mod image;
pub mod instance;
pub mod migration;
pub mod outline;
pub mod port;
pub mod secret;
pub mod size;
pub mod slots;
pub mod spec;
pub mod step;
pub mod view;
#[cfg(feature = "wire")]
mod wire;
pub mod workload;
