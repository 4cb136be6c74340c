//! Change events of the watched files, by inotify.
//!
//! A directory is watched for files that come and go, which is rare. `-wal` and the database file are watched for one
//! write only: a permanent watch would cost the writer up to 13 % at full speed, a watch that is set again after each
//! look nothing that can be measured. `-shm` is written through its descriptor only when it grows or is rebuilt (commits
//! go through a mapping, which raises no event), so it is watched permanently.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::domain::limits::EVENT_READS_MAX;
use crate::domain::observation::FileRole;

const BUFFER_BYTES: usize = 64 << 10;

/// Size of the smallest event.
const EVENT_BYTES: usize = 16;

/// An event of a target's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Written(FileRole),
    /// Another file is there, or none.
    Replaced {
        role: FileRole,
        created: bool,
    },
    /// The directory is gone from its path, and its watch with it.
    DirectoryGone,
}

/// The event queue and what each watch stands for.
pub(super) struct Events {
    queue: OwnedFd,
    buffer: Vec<MaybeUninit<u8>>,
    watched: HashMap<i32, Watched>,
    directories: HashMap<PathBuf, i32>,
}

enum Watched {
    File { target: usize, role: FileRole },
    Directory(Box<Names>),
}

/// Targets by the name of their database file, in the order of the names: most directories have one.
#[derive(Default)]
struct Names(Vec<(Box<[u8]>, usize)>);

impl Names {
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    fn get(&self, name: &[u8]) -> Option<usize> {
        self.find(name).ok().map(|at| self.0[at].1)
    }

    /// Adds a target, unless one has the name; says which has it then.
    fn add(&mut self, name: &[u8], target: usize) -> usize {
        let at = self.find(name).unwrap_or_else(|at| {
            self.0.reserve_exact(usize::from(self.0.is_empty()));
            self.0.insert(at, (name.into(), target));
            at
        });
        self.0[at].1
    }

    fn remove(&mut self, name: &[u8]) {
        self.find(name).ok().map(|at| self.0.remove(at));
    }
}

impl Events {
    pub(super) fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        Ok(Self { queue, buffer, watched: HashMap::new(), directories: HashMap::new() })
    }

    /// Takes all events that are there. Returns false when some were lost.
    pub(super) fn drain(&mut self, marks: &mut Vec<(usize, Happening)>) -> bool {
        let Self { queue, buffer, watched, directories } = self;
        let mut reader = Reader::new(queue, buffer);
        let events_max = EVENT_READS_MAX * BUFFER_BYTES / EVENT_BYTES;
        for _ in 0..events_max {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(error) => return error == Errno::AGAIN,
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Everything is looked at anyway.
                discard(&mut reader, events_max);
                return false;
            }
            let Entry::Occupied(entry) = watched.entry(event.wd()) else { continue };
            match entry.get() {
                &Watched::File { target, role } => {
                    if flags.contains(ReadFlags::MODIFY) {
                        marks.push((target, Happening::Written(role)));
                        if role != FileRole::Shm {
                            entry.remove();
                        }
                    } else {
                        marks.push((target, Happening::Replaced { role, created: false }));
                        entry.remove();
                    }
                }
                Watched::Directory(names) => {
                    if let Some(name) = event.file_name() {
                        let created = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                        mark_name(names, name.to_bytes(), created, marks);
                    } else {
                        marks.extend(names.0.iter().map(|(_, target)| (*target, Happening::DirectoryGone)));
                        let gone = event.wd();
                        directories.retain(|_, &mut wd| wd != gone);
                        entry.remove();
                    }
                }
            }
        }
        false
    }

    /// Watches the directory of a database, whichever directory is at that path now. Returns false when the same file
    /// is watched as another target already.
    pub(super) fn watch_directory(&mut self, directory: &Path, name: &OsStr, target: usize) -> io::Result<bool> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let wd = inotify::add_watch(&self.queue, directory, flags)?;
        match self.directories.get_mut(directory) {
            Some(known) if *known == wd => {}
            Some(known) => {
                let before = std::mem::replace(known, wd);
                if let Some(names) = self.watched.remove(&before) {
                    self.watched.entry(wd).or_insert(names);
                    let _ = inotify::remove_watch(&self.queue, before);
                }
            }
            None => {
                self.directories.insert(directory.to_owned(), wd);
            }
        }
        let entry = self.watched.entry(wd).or_insert_with(|| Watched::Directory(Box::default()));
        let Watched::Directory(names) = entry else { return Ok(false) };
        Ok(names.add(name.as_bytes(), target) == target)
    }

    /// Watches a file; `None` when it does not exist, of which the directory's watch will tell.
    pub(super) fn watch_file(&mut self, path: &Path, target: usize, role: FileRole) -> io::Result<Option<i32>> {
        let once = if role == FileRole::Shm { WatchFlags::empty() } else { WatchFlags::ONESHOT };
        let flags = WatchFlags::MODIFY | WatchFlags::DONT_FOLLOW | once;
        let wd = match inotify::add_watch(&self.queue, path, flags) {
            Ok(wd) => wd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match self.watched.insert(wd, Watched::File { target, role }) {
            // A hard link: events can only be one target's, which they stay.
            Some(other @ Watched::File { target: first, .. }) if first != target => {
                self.watched.insert(wd, other);
                Err(io::ErrorKind::AlreadyExists.into())
            }
            _ => Ok(Some(wd)),
        }
    }

    /// Ends the watch of a file.
    pub(super) fn forget_file(&mut self, wd: i32) {
        if self.watched.remove(&wd).is_some() {
            // Gone already when the file is.
            let _ = inotify::remove_watch(&self.queue, wd);
        }
    }

    /// Ends the watch of a database's directory when it was the last one there.
    pub(super) fn forget_name(&mut self, directory: &Path, name: &OsStr, target: usize) {
        let Some(&wd) = self.directories.get(directory) else { return };
        let Some(Watched::Directory(names)) = self.watched.get_mut(&wd) else { return };
        if names.get(name.as_bytes()) == Some(target) {
            names.remove(name.as_bytes());
        }
        if names.0.is_empty() {
            self.watched.remove(&wd);
            self.directories.retain(|_, &mut other| other != wd);
            let _ = inotify::remove_watch(&self.queue, wd);
        }
    }
}

/// Empties the queue.
fn discard(reader: &mut Reader<'_, &mut OwnedFd>, events_max: usize) {
    for _ in 0..events_max {
        if reader.next().is_err() {
            return;
        }
    }
}

/// Marks the target whose database, `-wal` or `-shm` has that name. `a-wal` may be a database, too.
fn mark_name(names: &Names, name: &[u8], created: bool, marks: &mut Vec<(usize, Happening)>) {
    let beside: [(&[u8], FileRole); 3] =
        [(b"", FileRole::Database), (b"-wal", FileRole::Wal), (b"-shm", FileRole::Shm)];
    for (suffix, role) in beside {
        if let Some(target) = name.strip_suffix(suffix).and_then(|database| names.get(database)) {
            marks.push((target, Happening::Replaced { role, created }));
        }
    }
}
