//! The contract's types: what goes over the wire, in the words of docs/json.md. They are text and
//! numbers only; the model's types never leave the program. Nothing here decides anything.

mod instance;
mod node;
mod operation;
mod request;
mod template;
mod user;

pub use instance::*;
pub use node::*;
pub use operation::*;
pub use request::*;
pub use template::*;
pub use user::*;
