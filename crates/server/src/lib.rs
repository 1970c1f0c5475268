//! The server: the driver over HTTP, with sessions, roles, events, figures and the console. It
//! decides nothing about clusters, prints nothing, and passes no platform's API through.

pub mod contract;
pub mod wire;
