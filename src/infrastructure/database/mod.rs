//! Databases on this machine, read as plain files and watched by inotify.
//!
//! Nothing here opens a SQLite connection, takes a lock or writes: files are opened read-only, read and closed. Closing
//! a descriptor of `-shm` drops the locks that this process holds on it, so the process must never use SQLite on a
//! watched database either.

mod counting;
mod events;
mod files;
mod holders;
mod live_image;
mod open_index;
mod posture;
mod processes;
mod replacement;
mod sample;
mod staging;
mod tracked;
mod wal_log;
mod watch;

pub use live_image::{LiveFiles, LivePageReader};
pub use watch::Watch;
