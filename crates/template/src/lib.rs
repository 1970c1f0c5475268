//! Text to spec: the template format, its variables and the Go template language.
//!
//! A template is a folder with a `template.yaml` and the config files of its services. `Document`
//! reads it, takes values for its variables, and gives the `model::spec::Spec` of an instance;
//! `render` makes one config file of one workload once every address is decided; `lint` finds what
//! can be found without any of that. `builtin` has the templates that come along.
//!
//! The crate is pure: text is handed in and handed out. It opens no file, asks for no time and no
//! environment, and makes no secret; the one piece of hidden state is explained in `go/engine.rs`.
//!
//! What holds everywhere:
//! - Every fault has a code, a line and a column, and all of them are told at once.
//! - A value never changes the structure: actions are rendered after YAML is read, text values are
//!   one line without control characters, and a rendered text is not rendered again.
//! - A secret is in no message, and in nothing but config files and credentials: where a service is
//!   read, the secrets are not among the data.
//! - Whatever is given, there is an end: sizes, depths, loops and the time of a rendering have
//!   limits with names.
//!
#![doc = include_str!("../../../docs/templates.md")]

pub mod builtin;
mod character;
mod code;
mod container;
mod declaration;
mod deployment;
mod discovery;
mod document;
mod file;
mod foreign;
mod go;
mod lint;
pub mod maxmemory;
mod path;
mod problem;
mod reader;
mod reference;
mod scope;
mod service;
mod services;
mod source;
mod start_order;
mod suggestion;
mod values_file;
mod variable;
mod yaml;

pub use code::CODES;
pub use discovery::{Discovery, Peer};
pub use document::{API_VERSION, Document, FILE_NAME};
pub use file::render;
pub use go::{FUNCTIONS, Function};
pub use lint::lint;
pub use problem::{Problem, Problems, Severity};
pub use source::Place;
pub use values_file::values_file;
pub use variable::{Fallback, Pattern, SECRET_LENGTH_MAX, TEXT_LENGTH_MAX, Variable, VariableKind};
