//! How files are opened, read and described: read-only, never through a symbolic link, never blocking.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, major, minor};
use rustix::io::Errno;
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::files::{self, beside, directory, timestamp};

/// How long ago a file or directory has to have changed for its date to tell of the next change.
pub(super) const SETTLED: SignedDuration = SignedDuration::from_secs(1);

/// The database file and what SQLite puts beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    pub database: PathBuf,
    pub wal: PathBuf,
    pub shm: PathBuf,
}

impl Paths {
    pub(super) fn of(database: &Path) -> Self {
        Self { database: database.to_owned(), wal: beside(database, "-wal"), shm: beside(database, "-shm") }
    }

    /// The directory that holds them.
    pub(super) fn directory(&self) -> &Path {
        directory(&self.database)
    }
}

/// Which file it is. The time of birth tells a file from another one that got the inode of a deleted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: (u32, u32),
    inode: u64,
    /// In nanoseconds since 1970; 0 where the filesystem does not tell.
    born: i64,
}

/// The result of one `statx`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FileStat {
    pub id: FileId,
    pub size: u64,
    /// When it was written, in seconds since 1970 and nanoseconds: there are many of them, of which few are read.
    modified: i64,
    modified_nanoseconds: u32,
    /// When content, name or attributes changed, in nanoseconds since 1970: nobody can set that date.
    changed: i64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl From<Statx> for FileStat {
    fn from(stat: Statx) -> Self {
        let nanoseconds = |at: StatxTimestamp| at.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(at.tv_nsec.into());
        let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let born = if has_birth { nanoseconds(stat.stx_btime) } else { 0 };
        Self {
            id: FileId { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino, born },
            size: stat.stx_size,
            modified: stat.stx_mtime.tv_sec,
            modified_nanoseconds: stat.stx_mtime.tv_nsec,
            changed: nanoseconds(stat.stx_ctime),
            mode: stat.stx_mode.into(),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
        }
    }
}

impl FileStat {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(super) fn modified(&self) -> Option<Timestamp> {
        timestamp(self.modified, self.modified_nanoseconds)
    }

    pub(super) fn version(&self) -> Version {
        Version { id: self.id, size: self.size, changed: self.changed }
    }

    /// Whether it is on this device, as `stat` numbers them.
    pub(super) fn is_on(&self, device: u64) -> bool {
        self.id.device == (major(device), minor(device))
    }

    pub(super) fn stamp(&self) -> Stamp {
        let Self { id, size, modified, modified_nanoseconds, .. } = *self;
        Stamp { id, size, modified, modified_nanoseconds }
    }
}

/// What is another one after each change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    id: FileId,
    size: u64,
    changed: i64,
}

impl Version {
    /// The last change is so long ago that one more would have another date.
    pub(super) fn is_settled(&self, at: Timestamp) -> bool {
        at.as_nanosecond() - i128::from(self.changed) > SETTLED.as_nanos()
    }
}

/// The facts of a file that change when it is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamp {
    pub id: FileId,
    pub size: u64,
    modified: i64,
    modified_nanoseconds: u32,
}

impl Stamp {
    /// Both say that the file was written at the same time.
    pub(super) fn is_as_old_as(&self, other: &Self) -> bool {
        (self.modified, self.modified_nanoseconds) == (other.modified, other.modified_nanoseconds)
    }
}

/// Why files could not be read, or do not agree.
#[derive(Debug)]
pub(super) struct Failure {
    pub reason: Reason,
    /// A file in the middle of a change: worth another try.
    pub transient: bool,
}

impl Failure {
    pub(super) fn transient(reason: Reason) -> Self {
        Self { reason, transient: true }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, transient: false }
    }
}

const STAT: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Describes the file at `path`, not what a symbolic link there points to; `None` when there is none.
pub(super) fn stat(path: &Path) -> Result<Option<FileStat>, Reason> {
    match rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, STAT) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(reason("stat", path, error.into())),
    }
}

/// Describes an open file.
pub(super) fn stat_open(file: &File, path: &Path) -> Result<FileStat, Reason> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, STAT);
    stat.map(FileStat::from).map_err(|error| reason("stat", path, error.into()))
}

/// Opens a file for reading; `None` when there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, Reason> {
    // NONBLOCK and NOCTTY for whoever puts a fifo or a terminal there: opening it must neither wait nor adopt it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => Ok(Some(File::from(descriptor))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(reason("open", path, error.into())),
    }
}

/// Fills `buffer` from `offset` on, as far as the file goes, and says how far that was.
pub(super) fn read_at(file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> Result<usize, Reason> {
    files::read_at(file, buffer, offset).map_err(|error| reason("read", path, error))
}

/// Reads what the `N` bytes from `offset` on say, or as many as there are.
pub(super) fn parse_at<const N: usize, T>(
    file: &File,
    path: &Path,
    offset: u64,
    parse: impl FnOnce(&[u8]) -> T,
) -> Result<T, Reason> {
    let mut bytes = [0; N];
    let count = read_at(file, path, &mut bytes, offset)?;
    Ok(parse(&bytes[..count]))
}

/// The byte of `-shm` on which each connection holds a shared lock (SQLite's `UNIX_SHM_DMS`), and how many bytes that is.
pub(super) const CONNECTED_LOCK: (u64, u64) = (128, 1);

/// The bytes of a database on one of which each connection that has it open in WAL mode holds a shared lock (SQLite's
/// `SHARED_FIRST` and `SHARED_SIZE`), and how many bytes that is.
pub(super) const SHARED_LOCK: (u64, u64) = (0x4000_0002, 510);

/// Asks whose lock would be in the way of an exclusive one. This takes none: F_GETLK only answers.
pub(super) fn lock_in_the_way(file: &File, (start, length): (u64, u64)) -> rustix::io::Result<Option<Flock>> {
    let typ = FlockType::WriteLock;
    fcntl_getlk(file, &Flock { start, length, pid: None, typ, offset_type: FlockOffsetType::Set })
}

/// Words an operating system error about a file.
pub(super) fn reason(verb: &str, path: &Path, error: io::Error) -> Reason {
    let doing = format!("{verb} {}", path.display());
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => symbolic_link(path),
        Some(Errno::ACCESS | Errno::PERM) => {
            Reason::from(error).context(doing).with_hint("let the agent's user read the file and enter its directories")
        }
        _ => Reason::from(error).context(doing),
    }
}

/// SQLite itself follows the link and puts `-wal` beside the real file, so only the real name is right.
pub(super) fn symbolic_link(path: &Path) -> Reason {
    let reason = Reason::new(ReasonKind::Misconfigured, format!("open {}: it is a symbolic link", path.display()));
    match std::fs::canonicalize(path) {
        Ok(real) => reason.with_hint(format!("configure the real path {}", real.display())),
        Err(_) => reason,
    }
}

/// Opens a file that has to be there.
pub(super) fn open_found(path: &Path) -> Result<File, Reason> {
    open(path)?.ok_or_else(|| not_found(path))
}

pub(super) fn not_found(path: &Path) -> Reason {
    Reason::new(ReasonKind::NotFound, format!("open {}: no such file or directory", path.display()))
}

/// Why the filesystem that holds `directory` cannot be trusted to report changes; `None` when it can.
///
/// Network filesystems do not report what other machines do, FUSE and overlay not what happens below them.
pub(super) fn untrusted_filesystem(directory: &Path) -> Option<&'static str> {
    // `include/uapi/linux/magic.h` and the filesystems' own headers.
    const UNTRUSTED: &[(u32, &str)] = &[
        (0x6969, "nfs"),
        (0x517b, "smb"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x6573_5546, "fuse"),
        (0x794c_7630, "overlay"),
        (0x0102_1997, "9p"),
        (0x00c3_6400, "ceph"),
        (0x5346_414f, "afs"),
        (0x6b41_4653, "afs"),
        (0x7375_7245, "coda"),
        (0x0bd0_0bd0, "lustre"),
        (0x4750_4653, "gpfs"),
        (0x786f_4256, "vboxsf"),
        (0xbacb_acbc, "vmhgfs"),
        (0x0116_1970, "gfs2"),
        (0x7461_636f, "ocfs2"),
    ];
    // The type's width differs between architectures; the magic numbers have 32 bits.
    let magic = rustix::fs::statfs(directory).ok()?.f_type as u32;
    UNTRUSTED.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}
