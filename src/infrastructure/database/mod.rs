//! Databases on this machine, read as plain files and watched by inotify.
//!
//! Nothing here opens a SQLite connection, takes a lock or writes: files are opened read-only, read and closed. Closing
//! a descriptor of `-shm` drops the locks that this process holds on it, so the process must never use SQLite on a
//! watched database either.

mod counting;
mod events;
mod files;
mod posture;
mod sample;
mod staging;
mod tracked;
mod wal_log;
mod watch;

use crate::domain::moment::Moment;
use crate::domain::observation::{Counters, DatabaseLook, DatabasePosture};
use crate::domain::reason::Reason;
use crate::domain::target::DatabaseFiles;
use crate::usecase::ports::LocalDatabase;

pub use watch::Watch;

/// Reads one database without remembering anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDatabase;

impl LocalDatabase for FileDatabase {
    fn look(&self, files: &DatabaseFiles, now: Moment) -> Result<DatabaseLook, Reason> {
        let paths = files::Paths::of(&files.path);
        let (sample, _) =
            sample::sample(&paths, None, &mut sample::Memory::default()).map_err(|failed| failed.reason)?;
        let last_commit = sample.dated();
        Ok(sample.look(now, Counters::default(), last_commit))
    }

    fn posture(&self, files: &DatabaseFiles, now: Moment) -> DatabasePosture {
        posture::posture(&files::Paths::of(&files.path), files.meta_path.as_deref(), now)
    }
}
