//! A simulated cluster and engine with a clock of its own, for tests.
//!
//! The simulation implements the ports of `model::port`, so that the driver runs on it unchanged.
//! For one seed it does the same every time: it knows no thread, no hash order and no real time.
//! Its servers follow cluster.c of Redis 7.0 (`server`), its platform follows the process engine
//! (`realm::processes`), and its hands mean what `admin` means (`hands`).

mod dice;
mod hands;
mod judge;
mod keeper;
mod ledger;
mod letter;
mod mishap;
mod nodes_conf;
mod queue;
mod realm;
mod server;
mod server_config;
mod site;
mod slot_table;
mod unit;
mod units;
mod world;

pub use dice::Dice;
pub use hands::{SimClock, SimEngine, SimNodes};
pub use judge::Complaint;
pub use keeper::{Keeper, Verdict};
pub use ledger::Ledger;
pub use mishap::{Blow, Fate, How, Mishap};
pub use site::Site;
pub use world::{Owed, World, simulate};
