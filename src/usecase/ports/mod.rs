//! The interfaces to the outside world. Infrastructure implements them; nothing inward knows how.

mod alert;
mod configuration;
mod database;
mod drill;
mod journal;
mod machine;
mod restore;
mod store;

pub use self::alert::*;
pub use self::configuration::*;
pub use self::database::*;
pub use self::drill::*;
pub use self::journal::*;
pub use self::machine::*;
pub use self::restore::*;
pub use self::store::*;
