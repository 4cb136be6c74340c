//! streamgauge says, for every SQLite database that Litestream replicates, what could be restored right now.
//!
//! Read in the order in which data passes: [`domain`] holds values and rules, [`usecase`] what the agent does over
//! ports, [`infrastructure`] those ports for real, [`delivery`] the faces. `ARCHITECTURE.md` draws it.

pub mod delivery;
pub mod domain;
pub mod infrastructure;
pub mod usecase;
