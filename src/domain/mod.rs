//! Values and rules: what is looked at, what was seen, what follows from it.
//!
//! Nothing here does IO, reads a clock, logs or spawns; `now` is an argument.

#[macro_use]
pub(crate) mod words;

pub mod alert;
pub mod alerting;
pub mod assess;
pub mod assessment;
pub mod beacon;
pub mod check;
pub mod cost;
pub mod drill;
pub mod fuzz;
pub mod history;
pub mod human;
pub mod limits;
pub mod litestream;
pub mod moment;
pub mod naming;
pub mod number;
pub mod observation;
pub mod places;
pub mod price;
pub mod printable;
pub mod profile;
pub mod reason;
pub mod replacement;
pub mod report;
pub mod restore;
pub mod secret;
pub mod shard;
pub mod spot;
pub mod spread;
pub mod sqlite;
pub mod store_kind;
pub mod target;
pub mod timeline;
pub mod verdict;
pub mod verification;
pub mod window;
