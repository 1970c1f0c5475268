//! The contract's types: what goes over the wire, in the words of docs/json.md. They are text and
//! numbers only; the model's types leave the program in `command` alone, for a command line of the
//! same version. Nothing here decides anything.

mod command;
mod instance;
mod node;
mod operation;
mod request;
mod template;
mod user;

pub use command::*;
pub use instance::*;
pub use node::*;
pub use operation::*;
pub use request::*;
pub use template::*;
pub use user::*;
