//! Where drills restore to: a private directory for each, locked while its drill runs, and the copies that are kept for
//! incremental drills.
//!
//! Whoever dies leaves a directory whose lock nobody holds; [`sweep`] removes those.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::inspect::SqliteCopy;
use crate::domain::limits::KEPT_COPY_AGE_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::page_hash::page_hash;
use crate::usecase::ports::{CopyDigest, DrillSpace, KeptCopy, RestoreFile, RestoredCopy};

/// How the directory of one drill is called, before something random.
const PREFIX: &str = "streamgauge-drill-";

/// The directory with the copies that are kept.
const KEPT: &str = "streamgauge-kept-drills";

/// The file in each of them that is locked.
const LOCK: &str = "lock";

const DATABASE: &str = "database";
const MANIFEST: &str = "manifest.json";

/// A manifest's size.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Names that are tried when a sweep takes a directory away before it is locked.
const ATTEMPTS: usize = 16;

/// Bytes that one read of a restored file asks for.
const READ_BYTES: usize = 1 << 20;

/// The directory of one drill, which goes when this is dropped.
#[derive(Debug)]
pub struct ScratchDirectory {
    path: PathBuf,
    _lock: File,
}

impl ScratchDirectory {
    /// Makes a directory that only this user can enter, below `scratch`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn create(scratch: &Path) -> Result<Self, Reason> {
        private_directory(scratch, true)?;
        for _ in 0..ATTEMPTS {
            let path = scratch.join(format!("{PREFIX}{:016x}", random()));
            private_directory(&path, false)?;
            if let Some(lock) = lock(&path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(Reason::new(ReasonKind::Failed, format!("lock a directory below {}: it is gone", scratch.display())))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // A process that was just killed may still be there for a moment; what is left is swept at the next start.
        let _ = fs::remove_dir_all(&self.path).or_else(|_| fs::remove_dir_all(&self.path));
    }
}

/// Removes what drills left that were killed together with whoever started them, and copies that were kept and not used
/// for long. Says how many directories that were.
pub fn sweep(scratch: &Path) -> usize {
    let named =
        |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
    let left = own_directories(scratch).into_iter().filter(|path| named(path));
    let kept = scratch.join(KEPT);
    // In a shared temporary directory, a name is no proof.
    let copies = if is_own_directory(&kept) { own_directories(&kept) } else { Vec::new() };
    let useless = copies.into_iter().filter(|path| !is_worth_keeping(path));
    left.chain(useless).filter(|path| lock(path).is_some_and(|_lock| fs::remove_dir_all(path).is_ok())).count()
}

fn own_directories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| is_own_directory(path)).collect()
}

fn is_own_directory(path: &Path) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == ours)
}

/// Whether a directory holds a copy that the next drill can use, and there was a drill lately.
fn is_worth_keeping(directory: &Path) -> bool {
    let written = fs::symlink_metadata(directory.join(MANIFEST)).and_then(|meta| meta.modified());
    written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < KEPT_COPY_AGE_MAX) || at.elapsed().is_err())
}

/// The place of a copy that is kept, locked while a drill uses it.
#[derive(Debug)]
pub struct KeptDirectory {
    path: PathBuf,
    _lock: File,
}

impl KeptDirectory {
    /// Opens or makes the one for `identity`; `None` when another drill uses it or it cannot be made.
    pub fn open(scratch: &Path, identity: &str) -> Option<Self> {
        let path = kept_path(scratch, identity);
        private_directory(&path, true).ok()?;
        let private = fs::symlink_metadata(&path).is_ok_and(|meta| meta.mode() & 0o077 == 0);
        if !private || !is_own_directory(&path) || !is_own_directory(path.parent()?) {
            return None;
        }
        let lock = lock(&path)?;
        Some(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what is no copy for the next drill: what was restored did not pass, or is of v0.3.
    pub fn settle(self) {
        if !is_worth_keeping(&self.path) {
            // Tried again by the next start.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Forgets the copy for `identity`, if there is one that nobody uses.
    pub fn remove(scratch: &Path, identity: &str) {
        if kept_path(scratch, identity).exists()
            && let Some(kept) = Self::open(scratch, identity)
        {
            // Tried again by the next drill.
            let _ = fs::remove_dir_all(&kept.path);
        }
    }
}

fn kept_path(scratch: &Path, identity: &str) -> PathBuf {
    scratch.join(KEPT).join(&hex(digest(&SHA256, identity.as_bytes()).as_ref())[..32])
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn private_directory(path: &Path, existing: bool) -> Result<(), Reason> {
    let made = DirBuilder::new().mode(0o700).recursive(existing).create(path);
    made.map_err(|error| {
        let reason = Reason::from(error).context(format!("create {}", path.display()));
        reason.with_hint("name a directory for restored databases with --scratch or drill.scratch")
    })
}

/// Locks a directory by its lock file; `None` when somebody else has it, or it is gone.
fn lock(directory: &Path) -> Option<File> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    // A sweep may have removed it since it was opened.
    let (own, there) = (file.metadata().ok()?, fs::symlink_metadata(&path).ok()?);
    ((own.dev(), own.ino()) == (there.dev(), there.ino())).then_some(file)
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
    directory: PathBuf,
    kept: Option<Kept>,
    memory_max: u64,
}

#[derive(Debug)]
struct Kept {
    directory: PathBuf,
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
    pub fn new(directory: PathBuf, kept: Option<(PathBuf, String)>, memory_max: u64) -> Self {
        let kept = kept.map(|(directory, identity)| Kept { directory, identity });
        Self { directory, kept, memory_max }
    }

    fn database(&self) -> PathBuf {
        self.kept.as_ref().map_or(&self.directory, |kept| &kept.directory).join(DATABASE)
    }
}

impl DrillSpace for Space {
    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.directory).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }

    fn bound(&self, bytes: u64) -> Result<(), Reason> {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let bytes = maximum.map_or(bytes, |maximum| maximum.min(bytes));
        setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum })
            .map_err(|error| Reason::from(std::io::Error::from(error)).context("limit the size of restored files"))
    }

    fn kept(&self) -> Option<KeptCopy> {
        let kept = self.kept.as_ref()?;
        let path = kept.directory.join(MANIFEST);
        let mut text = Vec::new();
        File::open(&path).ok()?.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        let base = manifest.copy.base;
        let bytes = u64::from(base.commit) * u64::from(base.page_size);
        let whole = fs::symlink_metadata(self.database()).is_ok_and(|meta| meta.is_file() && meta.len() == bytes);
        (manifest.identity == kept.identity && whole).then_some(manifest.copy)
    }

    fn file(&self, kept: bool) -> Result<Arc<dyn RestoreFile>, Reason> {
        let path = self.database();
        let doing = |error: std::io::Error| Reason::from(error).context(format!("make room for {}", path.display()));
        if let Some(kept) = &self.kept {
            remove_if_there(&kept.directory.join(MANIFEST)).map_err(doing)?;
            sync_directory(&kept.directory).map_err(doing)?;
        }
        if !kept {
            remove_if_there(&path).map_err(doing)?;
        }
        let opened =
            OpenOptions::new().read(true).write(true).create_new(!kept).mode(0o600).open(&path).map_err(doing)?;
        Ok(Arc::new(DrillFile { file: opened, path }))
    }

    fn digest(&self, page_size: u32) -> Result<CopyDigest, Reason> {
        let path = self.database();
        let doing = |error: std::io::Error| Reason::from(error).context(format!("read {}", path.display()));
        let mut file = File::open(&path).map_err(doing)?;
        let page_size = page_size.max(512) as usize;
        let mut buffer = vec![0; READ_BYTES.max(page_size) / page_size * page_size];
        let (mut sha256, mut pages) = (Context::new(&SHA256), Vec::new());
        loop {
            let mut filled = 0;
            while filled < buffer.len() {
                match file.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(doing(error)),
                }
            }
            if filled == 0 {
                break;
            }
            sha256.update(&buffer[..filled]);
            pages.extend(buffer[..filled].chunks(page_size).map(page_hash));
        }
        Ok(CopyDigest { sha256: hex(sha256.finish().as_ref()), pages })
    }

    fn open(&self) -> Result<Box<dyn RestoredCopy>, Reason> {
        Ok(Box::new(SqliteCopy::open(&self.database(), self.memory_max)?))
    }

    fn keep(&self, copy: &KeptCopy) -> Result<(), Reason> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let manifest = Manifest { identity: kept.identity.clone(), copy: *copy };
        let write = || -> std::io::Result<()> {
            let (new, path) = (kept.directory.join(format!("{MANIFEST}.new")), kept.directory.join(MANIFEST));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(&manifest)?)?;
            file.sync_all()?;
            fs::rename(new, path)?;
            sync_directory(&kept.directory)
        };
        write().map_err(|error| Reason::from(error).context(format!("keep the copy in {}", kept.directory.display())))
    }
}

/// The file that a drill restores to. It goes with its directory.
struct DrillFile {
    file: File,
    path: PathBuf,
}

impl DrillFile {
    fn done(&self, doing: &str, done: std::io::Result<()>) -> Result<(), Reason> {
        done.map_err(|error| Reason::from(error).context(format!("{doing} {}", self.path.display())))
    }
}

impl RestoreFile for DrillFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        self.done("write", self.file.write_all_at(content, offset))
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.done("resize", self.file.set_len(bytes))
    }

    fn sync(&self) -> Result<(), Reason> {
        self.done("sync", self.file.sync_all())
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::litestream::Txid;
    use crate::domain::restore::RestoreBase;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_sweep_takes_what_nobody_holds_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let held = ScratchDirectory::create(root.path()).unwrap();
        let left = root.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(DATABASE), "x").unwrap();
        let unlocked = root.path().join(format!("{PREFIX}younger"));
        fs::create_dir(&unlocked).unwrap();
        fs::create_dir(root.path().join("other")).unwrap();
        let target = root.path().join("target");
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, root.path().join(format!("{PREFIX}link"))).unwrap();
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
        assert_eq!(own_directories(&root.path().join(KEPT)), [whole]);
        assert!(held.path().exists() && !left.exists() && !unlocked.exists());
        assert!(root.path().join("other").exists() && target.exists());
        let path = held.path().to_owned();
        assert_eq!(mode(&path), 0o700);
        drop(held);
        assert!(!path.exists());
        assert_eq!(sweep(&root.path().join("missing")), 0);
    }

    #[test]
    fn directories_that_are_swept_as_they_are_made_are_made_again() {
        let root = tempfile::tempdir().unwrap();
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
        let root = tempfile::tempdir().unwrap();
        let held = KeptDirectory::open(root.path(), "a").unwrap();
        assert!(KeptDirectory::open(root.path(), "a").is_none(), "in use");
        let space = |identity: &str| {
            let kept = Some((held.path().to_owned(), identity.to_owned()));
            Space::new(root.path().to_owned(), kept, 1 << 20)
        };
        assert_eq!(space("a").kept(), None);
        let file = space("a").file(false).unwrap();
        file.write_at(0, &[1; 1024]).unwrap();
        drop(file);
        assert_eq!(mode(&held.path().join(DATABASE)), 0o600);
        space("a").keep(&copy()).unwrap();
        assert_eq!(space("a").kept(), Some(copy()));
        assert_eq!(space("b").kept(), None, "of another replica");
        drop(space("a").file(true).unwrap());
        assert_eq!(space("a").kept(), None, "lost until it is kept again");
        space("a").keep(&copy()).unwrap();
        fs::write(held.path().join(DATABASE), "short").unwrap();
        assert_eq!(space("a").kept(), None, "damaged");
        fs::write(held.path().join(MANIFEST), "{").unwrap();
        assert_eq!(space("a").kept(), None);
        drop(held);
        KeptDirectory::remove(root.path(), "a");
        assert!(!kept_path(root.path(), "a").exists());
    }

    #[test]
    fn digests_are_the_usual_ones() {
        let root = tempfile::tempdir().unwrap();
        let space = Space::new(root.path().to_owned(), None, 1 << 20);
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
