//! Where drills restore to: a private directory for each, locked while its drill runs, and the copies that are kept for
//! incremental drills.
//!
//! Whoever dies leaves a directory whose lock nobody holds; [`sweep`] removes those.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::FileType;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::inspect::SqliteCopy;
use super::private::Private;
use crate::domain::limits::{KEPT_COPY_AGE_MAX, KEPT_MANIFEST_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::infrastructure::files::failed;
use crate::infrastructure::hex::hex;
use crate::infrastructure::page_hash::page_hash;
use crate::infrastructure::reserve::{self, RestoredFile};
use crate::usecase::ports::{CopyDigest, DrillSpace, KeptCopy, RestoreFile, RestoredCopy};

/// How the directory of one drill is called, before something random.
const PREFIX: &str = "streamgauge-drill-";

/// The directory with the copies that are kept.
const KEPT: &str = "streamgauge-kept-drills";

/// The file in each of them that is locked.
const LOCK: &str = "lock";

const DATABASE: &str = "database";

/// Files that SQLite may have left beside it when a process was killed.
const BESIDE: [&str; 3] = ["database-wal", "database-shm", "database-journal"];

const MANIFEST: &str = "manifest.json";

/// Names that are tried when a sweep takes a directory away before it is locked.
const ATTEMPTS: usize = 16;

/// Bytes that one read of a restored file asks for.
const READ_BYTES: usize = 1 << 20;

/// The directory of one drill, which goes when this is dropped.
#[derive(Debug)]
pub struct ScratchDirectory {
    scratch: Private,
    name: String,
    path: PathBuf,
    _lock: File,
}

impl ScratchDirectory {
    /// Makes a directory that only this user can enter, below `scratch`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or `scratch` is not this user's alone.
    pub fn create(scratch: &Path) -> Result<Self, Reason> {
        let scratch = Private::create(scratch).map_err(with_option)?;
        for _ in 0..ATTEMPTS {
            let name = format!("{PREFIX}{:016x}", random());
            let Some(directory) = scratch.create_new_in(&name).map_err(with_option)? else { continue };
            if let Some(lock) = directory.lock(LOCK) {
                return Ok(Self { scratch, name, path: directory.path().to_owned(), _lock: lock });
            }
        }
        let path = scratch.path().display();
        Err(Reason::new(ReasonKind::Failed, format!("lock a directory below {path}: it is gone")))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        let name = OsStr::new(&self.name);
        // A process that was just killed may still be there for a moment; what is left is swept at the next start.
        let _ = self.scratch.remove(name).or_else(|_| self.scratch.remove(name));
    }
}

fn with_option(reason: Reason) -> Reason {
    match &reason.hint {
        Some(hint) => {
            let hint = format!("{hint}, with --scratch or drill.scratch");
            reason.with_hint(hint)
        }
        None => reason.with_hint("name a directory for restored databases with --scratch or drill.scratch"),
    }
}

/// Removes what drills left that were killed together with whoever started them, and copies that were kept and not used
/// for long. Says how many directories that were.
pub fn sweep(scratch: &Path) -> usize {
    let Ok(scratch) = Private::open(scratch) else { return 0 };
    let left = |name: &OsString, _: &Private| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let copies = scratch.enter(OsStr::new(KEPT));
    let useless = |_: &OsString, copy: &Private| !is_worth_keeping(copy);
    remove_unlocked(&scratch, left) + copies.map_or(0, |copies| remove_unlocked(&copies, useless))
}

/// Removes the directories in `parent` that are `unwanted` and that nobody has locked.
fn remove_unlocked(parent: &Private, unwanted: impl Fn(&OsString, &Private) -> bool) -> usize {
    let removed = |name: &OsString| {
        let Ok(directory) = parent.enter(name) else { return false };
        unwanted(name, &directory) && directory.lock(LOCK).is_some_and(|_lock| parent.remove(name).is_ok())
    };
    parent.names().iter().filter(|name| removed(name)).count()
}

/// Whether a directory holds a copy that the next drill can use, and there was a drill lately.
fn is_worth_keeping(directory: &Private) -> bool {
    let written = directory.read(MANIFEST).and_then(|file| file.metadata()?.modified());
    let written = written.ok().and_then(|at| Timestamp::try_from(at).ok());
    written.is_some_and(|at| {
        clock::wall().duration_since(at) < SignedDuration::try_from(KEPT_COPY_AGE_MAX).unwrap_or(SignedDuration::MAX)
    })
}

/// The place of a copy that is kept, locked while a drill uses it.
#[derive(Debug)]
pub struct KeptDirectory {
    copies: Private,
    directory: Private,
    name: String,
    _lock: File,
}

impl KeptDirectory {
    /// Opens or makes the one for `identity`; `None` when another drill uses it or it cannot be made.
    pub fn open(scratch: &Path, identity: &str) -> Option<Self> {
        let copies = Private::create(scratch).ok()?.create_in(KEPT).ok()?;
        let name = name(identity);
        let directory = copies.create_in(&name).ok()?;
        let lock = directory.lock(LOCK)?;
        Some(Self { copies, directory, name, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Removes what is no copy for the next drill: what was restored did not pass, or is of v0.3.
    pub fn settle(self) {
        if !is_worth_keeping(&self.directory) {
            self.forget();
        }
    }

    /// Forgets the copy for `identity`, if there is one that nobody uses.
    pub fn remove(scratch: &Path, identity: &str) {
        if scratch.join(KEPT).join(name(identity)).exists()
            && let Some(kept) = Self::open(scratch, identity)
        {
            kept.forget();
        }
    }

    fn forget(&self) {
        // Tried again by the next start, or the next drill.
        let _ = self.copies.remove(OsStr::new(&self.name));
    }
}

/// How the directory of a copy is called.
fn name(identity: &str) -> String {
    hex(&digest(&SHA256, identity.as_bytes()).as_ref()[..16])
}

/// The standard library seeds its hashers from the system's random numbers.
fn random() -> u64 {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// The directories of one drill, for the process that runs it.
#[derive(Debug)]
pub struct Space {
    directory: Private,
    kept: Option<Kept>,
    memory_max: u64,
}

#[derive(Debug)]
struct Kept {
    directory: Private,
    identity: String,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    identity: String,
    #[serde(flatten)]
    copy: KeptCopy,
}

impl Space {
    /// With the path of a [`ScratchDirectory`], and that of a [`KeptDirectory`] with what it is kept for. SQLite may
    /// allocate `memory_max` bytes.
    ///
    /// # Errors
    ///
    /// When one of them is not there, or not this user's alone.
    pub fn new(directory: &Path, kept: Option<(PathBuf, String)>, memory_max: u64) -> Result<Self, Reason> {
        let open =
            |(path, identity): (PathBuf, String)| Ok::<_, Reason>(Kept { directory: Private::open(&path)?, identity });
        let kept = kept.map(open).transpose()?;
        Ok(Self { directory: Private::open(directory)?, kept, memory_max })
    }

    /// Where the database is restored to.
    fn home(&self) -> &Private {
        self.kept.as_ref().map_or(&self.directory, |kept| &kept.directory)
    }

    fn database(&self) -> PathBuf {
        self.home().path().join(DATABASE)
    }
}

impl DrillSpace for Space {
    fn free(&self) -> Option<u64> {
        reserve::Space::of(&self.directory).ok().map(|space| space.usable())
    }

    fn bound(&self, bytes: u64) -> Result<(), Reason> {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let bytes = maximum.map_or(bytes, |maximum| maximum.min(bytes));
        setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum })
            .map_err(|error| Reason::from(std::io::Error::from(error)).context("limit the size of restored files"))
    }

    fn kept(&self) -> Option<KeptCopy> {
        let kept = self.kept.as_ref()?;
        let mut text = Vec::new();
        kept.directory.read(MANIFEST).ok()?.take(KEPT_MANIFEST_BYTES_MAX).read_to_end(&mut text).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        let base = manifest.copy.base;
        let bytes = u64::from(base.commit) * u64::from(base.page_size);
        let stat = kept.directory.look(DATABASE)?;
        let whole = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && u64::try_from(stat.st_size).is_ok_and(|size| size == bytes);
        (manifest.identity == kept.identity && whole).then_some(manifest.copy)
    }

    fn file(&self, kept: bool) -> Result<Arc<dyn RestoreFile>, Reason> {
        let (home, path) = (self.home(), self.database());
        let doing = failed("make room for", &path);
        if self.kept.is_some() {
            home.remove_file(MANIFEST).map_err(&doing)?;
            home.sync().map_err(&doing)?;
        }
        BESIDE.iter().try_for_each(|name| home.remove_file(name)).map_err(&doing)?;
        let file = if kept {
            home.write(DATABASE)
        } else {
            home.remove_file(DATABASE).and_then(|()| home.write_new(DATABASE))
        };
        let file = file.map_err(doing)?;
        Ok(Arc::new(RestoredFile::new(file, &path)))
    }

    fn digest(&self, page_size: u32) -> Result<CopyDigest, Reason> {
        let path = self.database();
        let mut file = self.home().read(DATABASE).map_err(failed("read", &path))?;
        let page_size = page_size.max(512) as usize;
        let most = READ_BYTES.max(page_size) / page_size * page_size;
        let mut buffer = Vec::with_capacity(most);
        let (mut sha256, mut pages) = (Context::new(&SHA256), Vec::new());
        loop {
            buffer.clear();
            Read::by_ref(&mut file).take(most as u64).read_to_end(&mut buffer).map_err(failed("read", &path))?;
            if buffer.is_empty() {
                break;
            }
            sha256.update(&buffer);
            pages.extend(buffer.chunks(page_size).map(page_hash));
        }
        Ok(CopyDigest { sha256: hex(sha256.finish().as_ref()), pages })
    }

    fn open(&self) -> Result<Box<dyn RestoredCopy>, Reason> {
        // SQLite knows files by their paths only, and follows no link here.
        let Some(home) = self.home().real_path() else {
            let text = format!("open {}: its directory was moved away", self.database().display());
            return Err(Reason::new(ReasonKind::Failed, text));
        };
        Ok(Box::new(SqliteCopy::open(&home.join(DATABASE), self.memory_max)?))
    }

    fn keep(&self, copy: &KeptCopy) -> Result<(), Reason> {
        let Some(Kept { directory, identity }) = &self.kept else { return Ok(()) };
        let manifest = Manifest { identity: identity.clone(), copy: *copy };
        let write = || -> std::io::Result<()> {
            let new = format!("{MANIFEST}.new");
            directory.remove_file(&new)?;
            let mut file = directory.write_new(&new)?;
            file.write_all(&serde_json::to_vec(&manifest)?)?;
            file.sync_all()?;
            directory.rename(&new, MANIFEST)?;
            directory.sync()
        };
        write().map_err(failed("keep the copy in", directory.path()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// The limit is that of the whole process, and so of the tests beside these.
    const MEMORY: u64 = 1 << 30;
    use crate::domain::litestream::Txid;
    use crate::domain::restore::RestoreBase;

    fn private() -> tempfile::TempDir {
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_sweep_takes_what_nobody_holds_and_nothing_else() {
        let root = private();
        let held = ScratchDirectory::create(root.path()).unwrap();
        let left = root.path().join(format!("{PREFIX}dead"));
        drop(Private::create(&left).unwrap());
        fs::write(left.join(DATABASE), "x").unwrap();
        let unlocked = root.path().join(format!("{PREFIX}younger"));
        drop(Private::create(&unlocked).unwrap());
        let others = root.path().join(format!("{PREFIX}others"));
        fs::create_dir(&others).unwrap();
        fs::set_permissions(&others, fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(root.path().join("other")).unwrap();
        let target = root.path().join("target");
        fs::create_dir(&target).unwrap();
        symlink(&target, root.path().join(format!("{PREFIX}link"))).unwrap();
        let kept = KeptDirectory::open(root.path(), "in use").unwrap();
        let half = KeptDirectory::open(root.path(), "half").unwrap().path().to_owned();
        let whole = KeptDirectory::open(root.path(), "whole").unwrap().path().to_owned();
        let unused = KeptDirectory::open(root.path(), "unused").unwrap().path().to_owned();
        fs::write(whole.join(MANIFEST), "{}").unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * KEPT_COPY_AGE_MAX;
        File::create(unused.join(MANIFEST)).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(sweep(root.path()), 4);
        assert!(kept.path().exists() && !half.exists() && whole.exists() && !unused.exists());
        kept.settle();
        assert_eq!(Private::open(&root.path().join(KEPT)).unwrap().names(), [whole.file_name().unwrap()]);
        assert!(held.path().exists() && !left.exists() && !unlocked.exists());
        assert!(root.path().join("other").exists() && target.exists() && others.exists());
        let path = held.path().to_owned();
        assert_eq!(mode(&path), 0o700);
        drop(held);
        assert!(!path.exists());
        assert_eq!(sweep(&root.path().join("missing")), 0);
    }

    #[test]
    fn directories_that_are_swept_as_they_are_made_are_made_again() {
        let root = private();
        let path = root.path().to_owned();
        let sweeper = std::thread::spawn(move || (0..300).map(|_| sweep(&path)).sum::<usize>());
        for _ in 0..200 {
            let directory = ScratchDirectory::create(root.path()).unwrap();
            assert!(directory.path().join(LOCK).exists());
        }
        sweeper.join().unwrap();
    }

    fn copy() -> KeptCopy {
        let base = RestoreBase { txid: Txid(7), page_size: 512, commit: 2 };
        KeptCopy { base, incremental_drills: 3 }
    }

    #[test]
    fn a_kept_copy_is_found_once_and_only_by_its_own_drill() {
        let root = private();
        let held = KeptDirectory::open(root.path(), "a").unwrap();
        assert!(KeptDirectory::open(root.path(), "a").is_none(), "in use");
        let space = |identity: &str| {
            let kept = Some((held.path().to_owned(), identity.to_owned()));
            Space::new(root.path(), kept, MEMORY).unwrap()
        };
        assert_eq!(space("a").kept(), None);
        let file = space("a").file(false).unwrap();
        file.write_at(0, &[1; 1024]).unwrap();
        drop(file);
        assert_eq!(mode(&held.path().join(DATABASE)), 0o600);
        space("a").keep(&copy()).unwrap();
        assert_eq!(space("a").kept(), Some(copy()));
        assert_eq!(space("b").kept(), None, "of another replica");
        fs::write(held.path().join("database-wal"), "left by SQLite when it was killed").unwrap();
        drop(space("a").file(true).unwrap());
        assert!(!held.path().join("database-wal").exists());
        assert_eq!(space("a").kept(), None, "lost until it is kept again");
        space("a").keep(&copy()).unwrap();
        fs::write(held.path().join(DATABASE), "short").unwrap();
        assert_eq!(space("a").kept(), None, "damaged");
        fs::write(held.path().join(MANIFEST), "{").unwrap();
        assert_eq!(space("a").kept(), None);
        drop(held);
        KeptDirectory::remove(root.path(), "a");
        assert_eq!(Private::open(&root.path().join(KEPT)).unwrap().names(), Vec::<OsString>::new());
    }

    #[test]
    fn what_a_stranger_prepared_is_not_used() {
        let root = private();
        let scratch = root.path().join("streamgauge-drill");
        let victim = root.path().join("victim");
        fs::create_dir(&victim).unwrap();
        // A link in place of the directory, or one that everybody can enter.
        symlink(&victim, &scratch).unwrap();
        let refused = ScratchDirectory::create(&scratch).unwrap_err();
        assert!(refused.message.contains("symbolic link"), "{refused}");
        assert!(refused.hint.unwrap().contains("drill.scratch"));
        fs::remove_file(&scratch).unwrap();
        fs::create_dir(&scratch).unwrap();
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(ScratchDirectory::create(&scratch).unwrap_err().message.contains("(mode 0777)"));
        assert!(KeptDirectory::open(&scratch, "a").is_none());
        // Links inside, for the lock and for the copies.
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&victim, scratch.join(KEPT)).unwrap();
        assert!(KeptDirectory::open(&scratch, "a").is_none());
        fs::remove_file(scratch.join(KEPT)).unwrap();
        let kept = KeptDirectory::open(&scratch, "a").unwrap().path().to_owned();
        fs::remove_file(kept.join(LOCK)).unwrap();
        symlink(victim.join("made"), kept.join(LOCK)).unwrap();
        assert!(KeptDirectory::open(&scratch, "a").is_none());
        fs::remove_file(kept.join(LOCK)).unwrap();
        symlink(victim.join("made"), kept.join(DATABASE)).unwrap();
        let space = Space::new(&kept, None, MEMORY).unwrap();
        assert!(space.file(true).is_err() && space.digest(512).is_err());
        // In its place a file of our own is made.
        drop(space.file(false).unwrap());
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "nothing was ever made there");
        assert_eq!(sweep(&scratch), 1);
    }

    #[test]
    fn digests_are_the_usual_ones() {
        let root = private();
        let space = Space::new(root.path(), None, MEMORY).unwrap();
        let file = space.file(false).unwrap();
        file.write_at(0, b"abc").unwrap();
        let digest = space.digest(512).unwrap();
        assert_eq!(digest.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        file.set_len(1536).unwrap();
        file.write_at(512, &[7; 512]).unwrap();
        let digest = space.digest(512).unwrap();
        assert_eq!((digest.pages.len(), digest.pages[1]), (3, page_hash(&[7; 512])));
    }
}
