//! Directories, opened and read name by name. No link is followed; one where Litestream keeps its files is an error:
//! Litestream follows it, and what is behind it would be missed.

use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat, openat, seek, statat};
use rustix::io::Errno;

use super::reason;
use crate::domain::litestream::Layout;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::checked::printable;

/// What is read of a directory at once, about 120 entries; on the stack, for each of the directories that one is in.
const ENTRIES_BYTES: usize = 8 << 10;

/// The flags with which every descriptor is opened. `NONBLOCK`: opening a FIFO that someone put there must not hang.
pub(super) const OPEN_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Reads the directory that a prefix names: gives name and type of each entry, but of `.`, `..`, names that are not UTF-8, and
/// what is gone.
pub(super) fn each(
    directory: &OwnedFd,
    prefix: &str,
    mut take: impl FnMut(&str, FileType) -> Result<ControlFlow<()>, Reason>,
) -> Result<(), Reason> {
    #[cfg(test)]
    super::tests::PASSES.set(super::tests::PASSES.get() + 1);
    seek(directory, SeekFrom::Start(0)).map_err(reason)?;
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            // It was deleted since it was opened.
            Err(Errno::NOENT) => break,
            entry => entry.map_err(reason)?,
        };
        let Some(name) = entry.file_name().to_str().ok().filter(|name| is_name(name)) else { continue };
        let kind = match entry.file_type() {
            // Some filesystems do not say.
            FileType::Unknown => match look(directory, name)? {
                Some(stat) => FileType::from_raw_mode(stat.st_mode),
                None => continue,
            },
            kind => kind,
        };
        if kind == FileType::Symlink {
            refuse_link(&format!("{prefix}{name}"))?;
        }
        if take(name, kind)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Refuses a link that Litestream would follow.
fn refuse_link(key: &str) -> Result<(), Reason> {
    let top = key.split('/').next().unwrap_or_default().to_owned();
    if Layout::recognise(&[top]).is_empty() {
        return Ok(());
    }
    let message = format!("{} is a symbolic link, and links inside a replica are not followed", printable(key));
    let hint = "mount or move its target there; only the replica's own directory may be a link";
    Err(Reason::new(ReasonKind::Misconfigured, message).with_hint(hint))
}

/// Opens the directory that a prefix names, component by component; `None` when it is not there.
pub(super) fn descend(root: &OwnedFd, prefix: &str) -> Result<Option<OwnedFd>, Reason> {
    let mut below = None;
    for name in prefix.split_terminator('/') {
        let entered = if is_name(name) { enter(below.as_ref().unwrap_or(root), name)? } else { None };
        let Some(directory) = entered else { return Ok(None) };
        below = Some(directory);
    }
    below.map_or_else(|| root.try_clone().map_err(reason), Ok).map(Some)
}

/// Opens a directory in a directory; `None` when there is none by that name, or a link.
pub(super) fn enter(directory: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Reason> {
    match openat(directory, name, OPEN_FLAGS | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(below) => Ok(Some(below)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(reason(error)),
    }
}

/// Size and time of a file in a directory.
pub(super) fn look(directory: &OwnedFd, name: &str) -> Result<Option<Stat>, Reason> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(reason(error)),
    }
}

pub(super) fn is_name(component: &str) -> bool {
    !matches!(component, "" | "." | "..") && !component.contains(['/', '\0'])
}
