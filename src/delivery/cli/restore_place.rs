//! The place to which `streamgauge restore` writes: what it refuses, and whose the file is.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::output::typed;
use super::restore_words as words;
use super::sources::is_same_file;
use crate::domain::human;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::Target;
use crate::infrastructure::files::{beside, directory};
use crate::infrastructure::scratch::space;

/// So many files of killed restores are named.
const LEFT_BEHIND_SHOWN: usize = 5;

/// Whether a database belongs at a path.
pub(super) fn is_live(target: &Target, path: &Path) -> bool {
    target.database.as_ref().is_some_and(|files| is_same_file(&files.path, path))
}

/// User and group of the directory of a file, where another user owns the file and the directory's is likely to use it: it
/// is `in_place`, or root's, who restored it for somebody.
pub(super) fn other_owner(path: &Path, in_place: bool) -> Option<(u32, u32)> {
    let (file, above) = (path.metadata().ok()?, directory(path).metadata().ok()?);
    let is_other = file.uid() != above.uid() && (in_place || file.uid() == 0);
    is_other.then(|| (above.uid(), above.gid()))
}

/// Says what to do where this user may not write.
pub(super) fn if_denied(reason: Reason) -> Reason {
    match reason.kind {
        ReasonKind::Denied => {
            reason.with_hint("run it as a user that may write there, or name another directory with -o")
        }
        _ => reason,
    }
}

/// Refuses to write a database to a screen.
pub(super) fn refuse_terminal() -> Result<(), Reason> {
    if !std::io::stdout().is_terminal() {
        return Ok(());
    }
    let text = "restore to standard output: it is a terminal";
    Err(Reason::new(ReasonKind::Misconfigured, text).with_hint("redirect it, or name a file with -o"))
}

/// Where a database is restored to that has no file in the end: not /tmp, which may be memory.
pub(super) fn temporary_directory() -> PathBuf {
    let named = std::env::var_os("TMPDIR").filter(|name| !name.is_empty());
    named.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Refuses a name that is taken, and one beside which files lie that SQLite would apply to the restored database.
pub(super) fn refuse_occupied(path: &Path) -> Result<(), Reason> {
    let refused = |text: String, hint: &str| Err(Reason::new(ReasonKind::Misconfigured, text).with_hint(hint));
    let shown = path.display();
    let there = |path: &Path| path.symlink_metadata().is_ok();
    if there(path) {
        return refused(format!("restore to {shown}: it already exists"), "name a file that does not exist yet");
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        if there(&beside(path, suffix)) {
            let text = format!(
                "restore to {shown}: {shown}{suffix} exists, and SQLite would apply it to the restored database"
            );
            return refused(text, "restore under another name, or move that file away if nothing uses it");
        }
    }
    let directory = directory(path);
    if let Err(error) = directory.metadata()
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return Err(if_denied(Reason::from(error).context(format!("look at {}", directory.display()))));
    }
    if !directory.is_dir() {
        return refused(format!("restore to {shown}: {} is not a directory", directory.display()), "create it first");
    }
    Ok(())
}

pub(super) fn refuse_full_disk(directory: &Path, database: Option<u64>) -> Result<(), Reason> {
    let Some(needed) = database else { return Ok(()) };
    let space = space(directory)?;
    if needed > space.usable() {
        let text = words::no_space(directory, needed, space.free, space.reserve);
        return Err(Reason::new(ReasonKind::Failed, text).with_hint("make room, or restore to another filesystem"));
    }
    Ok(())
}

/// `.NAME.restoring-PID`, beside the database that it will be.
pub(super) fn scratch_path(path: &Path) -> Result<PathBuf, Reason> {
    let name = path.file_name().ok_or_else(|| {
        Reason::new(ReasonKind::Misconfigured, format!("restore to {}: that is not a file name", path.display()))
    })?;
    let mut hidden = hidden_prefix(name);
    hidden.push(std::process::id().to_string());
    Ok(directory(path).join(hidden))
}

fn hidden_prefix(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".restoring-");
    hidden
}

/// Says which files restores to the same path have left, with their sizes and how to remove them: the first few.
pub(super) fn left_behind(path: &Path) -> Vec<String> {
    let Some(prefix) = path.file_name().map(hidden_prefix) else { return Vec::new() };
    let Ok(entries) = directory(path).read_dir() else { return Vec::new() };
    let left = entries.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name();
        let process: u32 = std::str::from_utf8(name.as_bytes().strip_prefix(prefix.as_bytes())?).ok()?.parse().ok()?;
        let (size, path) = (human::bytes(entry.metadata().ok()?.len()), directory(path).join(&name));
        let (shown, typed) = (human::printable(&path.display().to_string()), typed(&path));
        Some(format!("a killed restore left {shown}, {size}; unless process {process} still runs: rm {typed}"))
    });
    left.take(LEFT_BEHIND_SHOWN).collect()
}
