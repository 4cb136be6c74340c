//! All databases of one agent, looked at when events say that they changed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use super::counting::Evidence;
use super::events::{Events, Happening};
use super::files::Failure;
use super::files::{Paths, untrusted_filesystem};
use super::live_image::LivePageReader;
use super::posture::{Reach, posture};
use super::processes::Processes;
use super::staging::newest_staged;
use super::tracked::Tracked;
use crate::domain::limits::{HELD_DESCRIPTORS_MAX, POLLED_PER_POLL_MAX, TORN_POLLS_MAX};
use crate::domain::litestream::Txid;
use crate::domain::moment::Moment;
use crate::domain::observation::FileMode;
use crate::domain::target::{DatabaseFiles, TargetName};
use crate::infrastructure::files::directory;
use crate::usecase::ports::{DatabaseWatch, LocalUpdate, PageReader};

/// Watches databases by inotify and looks at those that changed.
///
/// Between two looks an idle database costs nothing at all. Where there are no events (network filesystems, too many
/// watches), [`poll`](DatabaseWatch::poll) looks at a bounded number of such databases in turn.
pub struct Watch {
    events: Option<Events>,
    /// Boxed, as they are large, and a vector has room for more.
    targets: Vec<Option<Box<Tracked>>>,
    /// Where each stands in `targets`.
    ids: HashMap<TargetName, usize>,
    /// To be looked at by the next poll.
    dirty: Vec<usize>,
    /// Targets without events that can be trusted.
    polled: Vec<usize>,
    next_polled: usize,
    next_swept: usize,
    held: Held,
    processes: Processes,
    reach: Reach,
    /// Of the posture that was taken last: most databases have the same.
    modes: Arc<[FileMode]>,
    marks: Vec<(usize, Happening)>,
    warned: bool,
}

/// Which targets have their `-shm` open, least recently used first.
#[derive(Default)]
struct Held {
    by_use: BTreeMap<u64, usize>,
    clock: u64,
    limit: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    pub fn new() -> Self {
        let events = Events::new()
            .inspect_err(|error| {
                tracing::warn!(%error, hint = "raise fs.inotify.max_user_instances", "no inotify; databases are polled");
            })
            .ok();
        // Half of what the process may open, so that stores and the server keep theirs.
        let allowed = getrlimit(Resource::Nofile).current.map_or(HELD_DESCRIPTORS_MAX, |most| most as usize / 2);
        let held = Held { limit: allowed.min(HELD_DESCRIPTORS_MAX), ..Held::default() };
        Self {
            events,
            targets: Vec::new(),
            ids: HashMap::new(),
            dirty: Vec::new(),
            polled: Vec::new(),
            next_polled: 0,
            next_swept: 0,
            held,
            processes: Processes::default(),
            reach: Reach::default(),
            modes: Arc::default(),
            marks: Vec::new(),
            warned: false,
        }
    }

    /// Reads the events and notes whose files they are about.
    fn collect(&mut self) {
        let Some(events) = &mut self.events else { return };
        let complete = events.drain(&mut self.marks);
        for (id, happening) in self.marks.drain(..) {
            let Some(target) = self.targets.get_mut(id).and_then(Option::as_mut) else { continue };
            target.note(happening, events);
            target.enqueue(id, &mut self.dirty);
        }
        if !complete {
            tracing::warn!(hint = "raise fs.inotify.max_queued_events", "events were lost; looking at every database");
            for (id, target) in self.targets.iter_mut().enumerate() {
                let Some(target) = target else { continue };
                target.forget_watches(events);
                target.evidence = Evidence { blind: true, ..target.evidence };
                target.enqueue(id, &mut self.dirty);
            }
        }
    }

    /// Sets the watches that are not set. Done before reading, so that a change after the read raises an event.
    fn arm(&mut self, id: usize, paths: &Paths, thorough: bool) {
        let Some(target) = self.targets.get_mut(id).and_then(Option::as_mut) else { return };
        let armed = match &mut self.events {
            Some(events) if target.filesystem.is_none() => target.arm(paths, id, events, thorough),
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        if let Err(error) = &armed
            && let Some(events) = &mut self.events
        {
            target.forget_watches(events);
            if error.kind() != io::ErrorKind::NotFound && target.filesystem.is_none() && !self.warned {
                self.warned = true;
                let full = error.kind() == io::ErrorKind::StorageFull;
                let hint = full.then_some("raise fs.inotify.max_user_watches (sysctl): each database needs 3");
                let database = target.files.path.display();
                tracing::warn!(%database, %error, hint, "cannot watch for events; this database and others are polled");
            }
        }
        if armed.is_err() != target.polled {
            target.polled = armed.is_err();
            if target.polled {
                self.polled.push(id);
            } else {
                self.polled.retain(|&other| other != id);
            }
        }
    }

    /// Looks at one target. `None` when its wal-index is being written: the next poll looks again.
    fn look_at(&mut self, id: usize, now: Moment, thorough: bool) -> Option<LocalUpdate> {
        let target = self.targets.get(id)?.as_ref()?;
        let paths = target.paths();
        // Watches that could not be set are tried again by the sweep.
        if thorough || !target.polled {
            self.arm(id, &paths, thorough);
        }
        let target = self.targets.get_mut(id)?.as_mut()?;
        target.evidence.blind |= target.polled;
        let look = match target.look(&paths, now, thorough) {
            Ok(look) => Ok(look),
            Err(Failure { transient: true, .. }) if target.torn < TORN_POLLS_MAX => {
                target.torn += 1;
                target.enqueue(id, &mut self.dirty);
                return None;
            }
            Err(failure) => Err(failure.reason),
        };
        self.held.touch(id, &mut self.targets);
        let target = self.targets.get_mut(id)?.as_mut()?;
        if target.strayed
            && let Some(events) = &mut self.events
        {
            // No event told of the other file: a directory further up was renamed.
            target.forget_watches(events);
            target.enqueue(id, &mut self.dirty);
        }
        if (target.evidence.wal_written || target.evidence.database_written) && look.is_ok() {
            // SQLite updates the wal-index after its last write, at a commit (after an fsync) as at a checkpoint, and
            // that raises no event: the look that this write caused may have come too early to see its effect.
            target.enqueue(id, &mut self.dirty);
        }
        if look.is_ok() {
            target.evidence = Evidence { blind: target.strayed, ..Evidence::default() };
        }
        let with_posture = thorough || !std::mem::replace(&mut target.postured, true);
        let posture = with_posture.then(|| {
            self.processes.refresh(now);
            let (meta, local) = (target.files.meta_path.as_deref(), target.filesystem.is_none());
            let seen = target.last.as_ref().filter(|_| look.is_ok()).map(|sample| (sample, target.index.as_ref()));
            let known = (&mut self.processes, &mut self.reach, &mut target.staged);
            let mut posture = posture(&paths, seen, (meta, local), known, now);
            if posture.modes == self.modes {
                posture.modes = Arc::clone(&self.modes);
            }
            self.modes = Arc::clone(&posture.modes);
            posture
        });
        Some(LocalUpdate { target: target.name.clone(), look, posture, polled: target.polled })
    }

    /// It was only marked to see whether the wal-index went on after the last event, and it did not.
    fn is_settled(&self, id: usize) -> bool {
        self.targets.get(id).and_then(Option::as_ref).is_some_and(|target| !target.polled && target.is_settled())
    }

    fn remove(&mut self, id: usize) {
        let Some(mut target) = self.targets.get_mut(id).and_then(Option::take) else { return };
        self.ids.remove(&target.name);
        self.held.by_use.remove(&target.used);
        if target.polled {
            self.polled.retain(|&other| other != id);
        }
        if let Some(events) = &mut self.events {
            target.forget_watches(events);
            if let Some(name) = target.files.path.file_name() {
                events.forget_name(directory(&target.files.path), name, id);
            }
        }
    }

    fn insert(
        &mut self,
        free: &mut Vec<usize>,
        name: TargetName,
        files: Arc<DatabaseFiles>,
        filesystem: Option<&'static str>,
    ) {
        let target = Tracked::new(name, files, filesystem);
        let id = free.pop().unwrap_or_else(|| {
            self.targets.push(None);
            self.targets.len() - 1
        });
        if let Some(slot) = self.targets.get_mut(id) {
            self.ids.insert(target.name.clone(), id);
            slot.insert(Box::new(target)).enqueue(id, &mut self.dirty);
        }
    }
}

impl DatabaseWatch for Watch {
    fn pages(&self) -> Option<Arc<dyn PageReader>> {
        Some(Arc::new(LivePageReader))
    }

    fn set_targets(&mut self, targets: Vec<(TargetName, Arc<DatabaseFiles>)>) {
        let mut gone = self.ids.clone();
        let is_same = |id: usize, files: &Arc<DatabaseFiles>| {
            self.targets.get(id).and_then(Option::as_ref).is_some_and(|target| target.files == *files)
        };
        let mut new = Vec::new();
        for (name, files) in targets {
            match gone.get(&name) {
                Some(&id) if is_same(id, &files) => drop(gone.remove(&name)),
                _ => new.push((name, files)),
            }
        }
        gone.into_values().for_each(|id| self.remove(id));
        let mut free: Vec<usize> = (0..self.targets.len()).filter(|&id| self.targets[id].is_none()).collect();
        let mut filesystems = HashMap::new();
        for (name, files) in new {
            let directory = directory(&files.path).to_owned();
            let filesystem =
                *filesystems.entry(directory).or_insert_with_key(|directory| untrusted_filesystem(directory));
            self.insert(&mut free, name, files, filesystem);
        }
        if let Some(kind) = filesystems.values().flatten().next() {
            tracing::warn!(filesystem = kind, "its events cannot be trusted; databases there are polled");
        }
    }

    fn poll(&mut self, now: Moment) -> Vec<LocalUpdate> {
        self.collect();
        let mut dirty = std::mem::take(&mut self.dirty);
        // A target that was removed may have left its place, and a mark, to another one.
        dirty.retain(|&id| {
            let target = self.targets.get_mut(id).and_then(Option::as_mut);
            target.is_some_and(|target| std::mem::take(&mut target.queued))
        });
        let changed = |this: &mut Self, id| if this.is_settled(id) { None } else { this.look_at(id, now, false) };
        let mut updates: Vec<LocalUpdate> = dirty.iter().filter_map(|&id| changed(self, id)).collect();
        for _ in 0..self.polled.len().min(POLLED_PER_POLL_MAX) {
            self.next_polled = (self.next_polled + 1) % self.polled.len().max(1);
            let Some(&id) = self.polled.get(self.next_polled) else { continue };
            if !dirty.contains(&id) {
                updates.extend(self.look_at(id, now, false));
            }
        }
        updates
    }

    fn sweep(&mut self, now: Moment, count: usize) -> Vec<LocalUpdate> {
        self.collect();
        let mut updates = Vec::new();
        for _ in 0..self.targets.len() {
            if updates.len() >= count {
                break;
            }
            self.next_swept = (self.next_swept + 1) % self.targets.len();
            updates.extend(self.look_at(self.next_swept, now, true));
        }
        updates
    }

    fn look(&mut self, target: &TargetName, now: Moment) -> Option<LocalUpdate> {
        self.collect();
        let id = *self.ids.get(target)?;
        self.look_at(id, now, false)
    }

    fn staged(&self, target: &TargetName) -> Option<Txid> {
        let target = self.targets.get(*self.ids.get(target)?)?.as_ref()?;
        newest_staged(target.files.meta_path.as_deref()?)
    }
}

impl Held {
    /// Notes that a target was looked at, and closes the longest unused `-shm` when there are too many.
    fn touch(&mut self, id: usize, targets: &mut [Option<Box<Tracked>>]) {
        let Some(target) = targets.get_mut(id).and_then(Option::as_mut) else { return };
        self.by_use.remove(&target.used);
        if target.index.is_none() {
            return;
        }
        self.clock += 1;
        target.used = self.clock;
        self.by_use.insert(self.clock, id);
        if self.by_use.len() > self.limit
            && let Some((_, oldest)) = self.by_use.pop_first()
            && let Some(target) = targets.get_mut(oldest).and_then(Option::as_mut)
        {
            target.index = None;
        }
    }
}
