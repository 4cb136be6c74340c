//! Numbers: everything that is exported, each declared once with its name, its labels and where it stands.
//!
//! To add a metric, add one entry to the file of what it is about. Checks compare the same entries.

/// Declares numbers, and lists them in this order.
macro_rules! numbers {
    ($($name:ident = $number:expr;)*) => {
        $(pub static $name: Number = $number;)*

        /// All of them, in reading order.
        pub(super) static ALL: &[&Number] = &[$(&$name),*];
    };
}

pub mod agent;
pub mod content;
pub mod database;
mod declare;
pub mod drill;
pub mod receiver;
pub mod replica;
mod selection;
pub mod store;
mod subject;

pub use self::declare::{Kind, Number, Put, Read, Value, seconds};
pub use self::subject::{Scope, Subject};

/// Every number, in reading order.
pub fn all() -> impl Iterator<Item = &'static Number> {
    let areas = [agent::ALL, database::ALL, replica::ALL, content::ALL, drill::ALL, store::ALL, receiver::ALL];
    areas.into_iter().flatten().copied()
}
