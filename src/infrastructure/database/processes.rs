//! A Litestream in the process table of this host.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::SignedDuration;

use crate::domain::limits::{OPEN_FILES_MAX, PROCESSES_MAX};
use crate::domain::moment::Moment;
use crate::domain::observation::Sighting;

/// How old what is known of processes may be: a check of them holds for minutes before anyone is told.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(15);

/// `/proc/self/ns/pid` of a process that sees every process of the host (`PROC_PID_INIT_INO` of the kernel).
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// The processes last seen in `/proc`.
#[derive(Debug, Default)]
pub(super) struct Processes {
    read_at: Option<Moment>,
    /// The files that each Litestream has open, as far as this process may see them.
    litestreams: HashMap<u32, Option<HashSet<(u64, u64)>>>,
    /// All processes of the host show here.
    complete: bool,
    /// Whether other processes, of which that was asked since then, are a Litestream.
    asked: HashMap<u32, bool>,
    /// One was seen since the agent started: where it showed once, it shows again.
    seen: bool,
}

impl Processes {
    /// Reads the process table anew if what is known is old.
    pub(super) fn refresh(&mut self, now: Moment) {
        if self.read_at.is_some_and(|read| now.since(read) < AGE_MAX) {
            return;
        }
        self.read_at = Some(now);
        self.asked.clear();
        self.read(Path::new("/proc"));
    }

    fn read(&mut self, proc: &Path) {
        let entries = std::fs::read_dir(proc).into_iter().flatten().flatten().take(PROCESSES_MAX);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let litestreams = pids.filter(|pid| replicates(proc, *pid));
        self.litestreams = litestreams.map(|pid| (pid, open_files(proc, pid))).collect();
        self.seen |= !self.litestreams.is_empty();
        // With `hidepid`, processes of others are there and say nothing, or do not show at all.
        let host = std::fs::read_link(proc.join("self/ns/pid")).is_ok_and(|link| link.as_os_str() == HOST_NAMESPACE);
        self.complete = host && std::fs::read(proc.join("1/cmdline")).is_ok();
    }

    pub(super) fn is_litestream(&mut self, pid: u32) -> bool {
        self.litestreams.contains_key(&pid)
            || *self.asked.entry(pid).or_insert_with(|| replicates(Path::new("/proc"), pid))
    }

    /// Whether a Litestream works on a database. One that is seen to have others open and not this one does not.
    pub(super) fn litestream(&self, database: &Path) -> Sighting {
        let id = LazyCell::new(|| std::fs::metadata(database).ok().map(|file| (file.dev(), file.ino())));
        let has_open = |files: &HashSet<(u64, u64)>| id.is_some_and(|id| files.contains(&id));
        let attached = self.litestreams.iter().find(|(_, files)| files.as_ref().is_some_and(has_open));
        if let Some((pid, _)) = attached {
            return Sighting::Attached(*pid);
        }
        let hidden = self.litestreams.iter().find(|(_, files)| files.is_none());
        match hidden {
            Some((pid, _)) => Sighting::Running(*pid),
            None if self.complete || self.seen => Sighting::Gone,
            None => Sighting::Unknown,
        }
    }
}

/// The files that a process has open, by device and inode; `None` where this process may not see them, or not all.
pub(super) fn open_files(proc: &Path, pid: u32) -> Option<HashSet<(u64, u64)>> {
    let entries = std::fs::read_dir(proc.join(pid.to_string()).join("fd")).ok()?;
    let mut files = HashSet::new();
    for entry in entries {
        if files.len() >= OPEN_FILES_MAX {
            return None;
        }
        // What was closed meanwhile is not open.
        let Ok(file) = std::fs::metadata(entry.ok()?.path()) else { continue };
        files.insert((file.dev(), file.ino()));
    }
    Some(files)
}

/// Whether a process was started as `litestream replicate`, or is what stands for one in the demo. A zombie has no
/// arguments any more.
fn replicates(proc: &Path, pid: u32) -> bool {
    let Ok(arguments) = std::fs::read(proc.join(pid.to_string()).join("cmdline")) else { return false };
    let mut arguments = arguments.split(|byte| *byte == 0);
    let program = arguments.next().and_then(|path| path.rsplit(|byte| *byte == b'/').next()).unwrap_or_default();
    match arguments.next() {
        Some(b"demo-peer") => program.starts_with(b"streamgauge"),
        first => {
            program.starts_with(b"litestream") && first.into_iter().chain(arguments).any(|word| word == b"replicate")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process table of these processes.
    fn table(processes: &[(u32, &[u8])], host: bool) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, arguments) in processes {
            std::fs::create_dir(proc.path().join(pid.to_string())).unwrap();
            std::fs::write(proc.path().join(format!("{pid}/cmdline")), arguments).unwrap();
        }
        std::fs::create_dir_all(proc.path().join("self/ns")).unwrap();
        let namespace = if host { HOST_NAMESPACE } else { "pid:[4026532000]" };
        std::os::unix::fs::symlink(namespace, proc.path().join("self/ns/pid")).unwrap();
        proc
    }

    const INIT: (u32, &[u8]) = (1, b"/sbin/init\0");
    const REPLICATE: (u32, &[u8]) = (77, b"/usr/bin/litestream\0replicate\0-config\0/etc/litestream.yml\0");

    #[test]
    fn it_is_gone_only_where_it_would_show() {
        let mut processes = Processes::default();
        processes.read(table(&[INIT], false).path());
        assert_eq!(processes.litestream(Path::new("/srv/app.db")), Sighting::Unknown);
        processes.read(table(&[], true).path());
        assert_eq!(processes.litestream(Path::new("/srv/app.db")), Sighting::Unknown, "init is hidden");
        processes.read(table(&[INIT], true).path());
        assert_eq!(processes.litestream(Path::new("/srv/app.db")), Sighting::Gone);
    }

    #[test]
    fn where_it_showed_once_it_is_missed() {
        let mut processes = Processes::default();
        processes.read(table(&[INIT, REPLICATE], false).path());
        assert_eq!(processes.litestream(Path::new("/srv/app.db")), Sighting::Running(77));
        processes.read(table(&[INIT], false).path());
        assert_eq!(processes.litestream(Path::new("/srv/app.db")), Sighting::Gone);
    }

    #[test]
    fn another_databases_litestream_is_none() {
        let proc = table(&[INIT, REPLICATE], true);
        let (own, other) = (proc.path().join("own.db"), proc.path().join("other.db"));
        for file in [&own, &other] {
            std::fs::write(file, "").unwrap();
        }
        std::fs::create_dir(proc.path().join("77/fd")).unwrap();
        std::os::unix::fs::symlink(&own, proc.path().join("77/fd/9")).unwrap();
        let mut processes = Processes::default();
        processes.read(proc.path());
        assert_eq!(processes.litestream(&own), Sighting::Attached(77));
        assert_eq!(processes.litestream(&other), Sighting::Gone);
    }

    #[test]
    fn what_only_sounds_like_it_does_not_replicate() {
        let others: &[(u32, &[u8])] = &[
            INIT,
            (5, b"litestream\0restore\0/srv/app.db\0"),
            (6, b"vim\0litestream\0replicate\0"),
            (7, b"streamgauge\0run\0--litestream.config=litestream.yml\0"),
            (8, b""),
        ];
        let mut processes = Processes::default();
        processes.read(table(others, true).path());
        assert_eq!(processes.litestream(Path::new("/srv/app.db")), Sighting::Gone);
    }
}
