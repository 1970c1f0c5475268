//! The driver: observe, plan, execute, and again until there is nothing left to do.
//!
//! It is the only consumer of commands, whoever makes them, and it prints nothing: what happens is
//! told as events, and what came of it is a reply.

pub mod approve;
pub mod cancel;
pub mod clock;
pub mod command;
pub mod engines;
pub mod guard;
pub mod hands;
pub mod home;
pub mod lock;
pub mod preview;
pub mod store;

mod backup;
mod census;
mod converge;
mod down;
mod execute;
mod failover;
mod import;
mod look;
pub mod oversee;
mod proof;
mod reach;
mod scale;
mod shares;
mod status;
mod tend;
mod trib;
mod up;
mod wait;
mod word;

pub use command::{Command, Control, Reply};
