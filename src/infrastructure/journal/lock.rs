//! One agent a directory: a lock that ends with the process, whatever ends that.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::domain::reason::{Reason, ReasonKind};

/// The file below the storage path.
const FILE: &str = "state.lock";

/// An agent that is being restarted may not have ended yet.
const ATTEMPTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Takes the lock, and says in it who has it.
pub(super) fn lock(directory: &Path) -> Result<File, Reason> {
    let path = directory.join(FILE);
    let doing = || format!("lock {}", path.display());
    let nofollow = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(&path);
    let mut file = opened.map_err(|error| Reason::from(error).context(doing()))?;
    for attempt in 0.. {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // It is written right after the lock is taken, and may not be there yet.
                let _ = Read::by_ref(&mut file).take(20).read_to_string(&mut holder);
                let holder = holder.trim();
                let process = if holder.is_empty() { String::new() } else { format!(", process {holder},") };
                let message = format!("another agent{process} keeps its state there");
                return Err(Reason::new(ReasonKind::Denied, message)
                    .context(doing())
                    .with_hint("give each agent a directory of its own with --storage.path"));
            }
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "locks do not work there");
                break;
            }
        }
    }
    // Who has it is comfort: the lock holds without.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Whether anybody has the lock; where locks do not work, nobody is known to. It is tried for a moment, and agents are patient.
pub(super) fn is_held(directory: &Path) -> bool {
    let nofollow = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(nofollow).open(directory.join(FILE));
    opened.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}
