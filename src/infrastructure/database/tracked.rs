//! One target of the watch: its watches, what events said of it, and what the last look left.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::counting::{Evidence, Step};
use super::events::{Events, Happening};
use super::files::{Failure, FileId, Paths};
use super::open_index::OpenIndex;
use super::replacement::{Pair, Pairing};
use super::sample::{Known, Log, Memory, Sample, sample};
use super::staging::Remembered;
use crate::domain::moment::Moment;
use crate::domain::observation::{Counters, DatabaseLook, FileRole};
use crate::domain::sqlite::WalIndexHeader;
use crate::domain::target::{DatabaseFiles, TargetName};

/// One target and what is remembered of it.
#[derive(Default)]
pub(super) struct Tracked {
    pub(super) name: TargetName,
    pub(super) files: Arc<DatabaseFiles>,
    pub(super) directory_watched: bool,
    pub(super) wal_watch: Option<i32>,
    pub(super) database_watch: Option<i32>,
    pub(super) index_watch: Option<i32>,
    /// Why its filesystem's events are not used.
    pub(super) filesystem: Option<&'static str>,
    pub(super) polled: bool,
    pub(super) queued: bool,
    pub(super) last: Option<Sample>,
    /// Events about the making of the wal-index that `last` saw may still arrive.
    pub(super) settling: bool,
    /// Present when this look set the watch of `-shm`: the wal-index and its count right before.
    pub(super) built_before: Option<Box<Option<(FileId, u32)>>>,
    pub(super) evidence: Evidence,
    pub(super) index: Option<OpenIndex>,
    pub(super) used: u64,
    pub(super) memory: Memory,
    pairing: Pairing,
    /// The files at the paths are other ones, and no event said so.
    pub(super) strayed: bool,
    pub(super) torn: u8,
    pub(super) counters: Counters,
    pub(super) last_commit: Option<Timestamp>,
    pub(super) postured: bool,
    pub(super) staged: Remembered,
}

impl Tracked {
    pub(super) fn new(name: TargetName, files: Arc<DatabaseFiles>, filesystem: Option<&'static str>) -> Self {
        Self { name, files, filesystem, ..Self::default() }
    }

    /// Made for each look: kept for each database, they would take more memory than they save time.
    pub(super) fn paths(&self) -> Paths {
        Paths::of(&self.files.path)
    }

    pub(super) fn enqueue(&mut self, id: usize, dirty: &mut Vec<usize>) {
        if !std::mem::replace(&mut self.queued, true) {
            dirty.push(id);
        }
    }

    fn watch_of(&mut self, role: FileRole) -> &mut Option<i32> {
        match role {
            FileRole::Wal => &mut self.wal_watch,
            FileRole::Shm => &mut self.index_watch,
            FileRole::Database | FileRole::Directory => &mut self.database_watch,
        }
    }

    pub(super) fn note(&mut self, happening: Happening, events: &mut Events) {
        match happening {
            Happening::Written(role) => {
                match role {
                    FileRole::Wal => self.evidence.wal_written = true,
                    FileRole::Shm => self.evidence.index_written = true,
                    FileRole::Database | FileRole::Directory => self.evidence.database_written = true,
                }
                if role != FileRole::Shm {
                    *self.watch_of(role) = None;
                }
            }
            Happening::Replaced { role, created } => {
                self.evidence.replaced = true;
                let created = u8::from(created);
                match role {
                    FileRole::Shm => {
                        self.evidence.indexes_created = self.evidence.indexes_created.saturating_add(created);
                    }
                    // It was not watched from its first write on.
                    FileRole::Database => self.evidence.database_written |= created > 0,
                    FileRole::Wal | FileRole::Directory => {}
                }
                if let Some(wd) = self.watch_of(role).take() {
                    events.forget_file(wd);
                }
            }
            Happening::DirectoryGone => {
                self.evidence = Evidence { replaced: true, blind: true, ..self.evidence };
                self.forget_watches(events);
            }
        }
    }

    pub(super) fn forget_watches(&mut self, events: &mut Events) {
        self.directory_watched = false;
        for watch in [&mut self.wal_watch, &mut self.database_watch, &mut self.index_watch] {
            if let Some(wd) = watch.take() {
                events.forget_file(wd);
            }
        }
    }

    pub(super) fn arm(&mut self, paths: &Paths, id: usize, events: &mut Events, thorough: bool) -> io::Result<()> {
        if thorough || !self.directory_watched {
            let name = paths.database.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            if !events.watch_directory(paths.directory(), name, id)? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.directory_watched = true;
        }
        if self.wal_watch.is_none() {
            self.wal_watch = events.watch_file(&paths.wal, id, FileRole::Wal)?;
        }
        if self.database_watch.is_none() {
            self.database_watch = events.watch_file(&paths.database, id, FileRole::Database)?;
        }
        if self.index_watch.is_none() {
            let built = OpenIndex::open(paths).ok().flatten();
            let built = built.and_then(|index| Some((index.stat.id, index.read(paths).ok()??.change)));
            self.built_before = Some(Box::new(built));
            self.index_watch = events.watch_file(&paths.shm, id, FileRole::Shm)?;
        }
        Ok(())
    }

    /// Nothing told of a change since the last look, and the wal-index says what it said then.
    pub(super) fn is_settled(&self) -> bool {
        let last = self.last.as_ref().and_then(|last| last.index).map(|index| index.header);
        let header = || self.index.as_ref()?.read(&self.paths()).ok().flatten();
        self.evidence == Evidence::default() && last.is_some() && last == header()
    }

    /// Looks at the files and counts what was committed since the last look.
    pub(super) fn look(&mut self, paths: &Paths, now: Moment, thorough: bool) -> Result<DatabaseLook, Failure> {
        if thorough && !self.pairing.is_at_rest() {
            self.memory.headed = None;
        }
        let doubtful = thorough || self.evidence.replaced || self.evidence.blind;
        if self.evidence.index_written
            && let Some(index) = &mut self.index
        {
            index.measure(paths)?;
        }
        // A network filesystem shows what others wrote to a file when it is opened.
        let local = self.filesystem.is_none();
        let still_there = |index: &mut OpenIndex| local && index.is_still_there(paths);
        let kept = !doubtful || self.index.as_mut().is_some_and(still_there);
        let unwritten = self.last.as_ref().filter(|_| !doubtful && !self.evidence.database_written);
        let known = Known { index: self.index.as_ref().filter(|_| kept), unwritten };
        let sampled = match sample(paths, known, &mut self.memory) {
            // The log was written and the wal-index did not move: a transaction in progress, or a writer that has its
            // wal-index in its own memory and left this one behind.
            Ok((same, None)) if self.evidence.wal_written && self.is_where_it_was(&same) && !self.is_connected() => {
                sample(paths, Known::default(), &mut self.memory)
            }
            sampled => sampled,
        };
        let (sample, opened) = match sampled {
            Ok(sampled) => sampled,
            Err(failure) => {
                // The files may be other ones when they can be read again.
                self.evidence.replaced = true;
                return Err(failure);
            }
        };
        self.torn = 0;
        self.strayed = !self.evidence.replaced
            && self.last.as_ref().is_some_and(|last| {
                last.database.id != sample.database.id
                    || last.index.map(|index| index.id) != sample.index.map(|index| index.id)
            });
        let finale = self.adopt(paths, &sample, opened);
        let continued = self.count(paths, &sample, finale);
        self.last_commit = self.last_commit.or_else(|| sample.dated());
        let pair = Pair {
            paths,
            sample: &sample,
            index: self.index.as_ref(),
            continued,
            at: now.wall(),
            local: self.filesystem.is_none(),
            written: self.evidence.database_written && !self.evidence.blind,
        };
        let replacement = self.pairing.observe(&pair, thorough);
        self.memory.wal_deleted = self.pairing.knows_of_a_deleted_wal();
        let look = sample.look(now, self.counters, self.last_commit, replacement);
        self.last = Some(sample);
        Ok(look)
    }

    fn is_connected(&self) -> bool {
        self.index.as_ref().is_some_and(OpenIndex::is_connected)
    }

    fn is_where_it_was(&self, sample: &Sample) -> bool {
        let header = |sample: &Sample| sample.index.map(|index| index.header);
        self.last.as_ref().is_some_and(|last| header(last) == header(sample))
    }

    /// Keeps the `-shm` that was read, and returns what the one before it says in the end.
    fn adopt(&mut self, paths: &Paths, sample: &Sample, opened: Option<OpenIndex>) -> Option<WalIndexHeader> {
        let seen = sample.index.map(|index| index.id);
        match (&self.index, seen) {
            (Some(held), Some(seen)) if held.stat.id == seen => {
                if opened.is_some() {
                    self.index = opened;
                }
                None
            }
            (Some(held), _) => {
                let finale = held.read(paths).ok().flatten();
                let left = std::mem::replace(&mut self.index, opened.filter(|_| seen.is_some()));
                if let Some(left) = left.filter(|_| self.filesystem.is_none()) {
                    self.pairing.leave(left);
                }
                finale
            }
            (None, _) => {
                self.index = opened.filter(|_| seen.is_some());
                None
            }
        }
    }

    /// Counts what was committed since the last look, and says whether the wal-index went on since then.
    fn count(&mut self, paths: &Paths, sample: &Sample, finale: Option<WalIndexHeader>) -> bool {
        // When it was complete before it was watched, events tell only of what came after.
        let unwatched = self.built_before.take().is_some_and(|built| {
            sample
                .index
                .is_some_and(|now| !built.is_some_and(|(id, change)| id == now.id && change <= now.header.change))
        });
        let Some(last) = &self.last else {
            self.settling = unwatched;
            return false;
        };
        let step =
            Step { last, now: sample, evidence: self.evidence, settling: self.settling, finale, wal: &paths.wal };
        let tally = step.tally();
        tally.add_to(&mut self.counters);
        self.settling = unwatched || tally.restarted;
        if tally.commits > 0 {
            let written = match sample.log {
                Log::Indexed(_) | Log::Scanned { .. } => sample.wal.and_then(|wal| wal.modified()),
                // Closing and checkpointing write the database soon after the last commit.
                Log::Absent { .. } | Log::Rollback { .. } => sample.database.modified(),
            };
            self.last_commit = written.or(self.last_commit);
        }
        tally.continued
    }
}
