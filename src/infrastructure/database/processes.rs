//! A Litestream in the process table of this host.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::SignedDuration;

use super::files::Paths;
use crate::domain::limits::{LOCKS_MAX, OPEN_FILES_MAX, PROCESSES_MAX};
use crate::domain::moment::Moment;
use crate::domain::observation::Sighting;

/// How old what is known of processes may be: a check of them holds for minutes before anyone is told.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(15);

/// `/proc/self/ns/pid` of a process that sees every process of the host (`PROC_PID_INIT_INO` of the kernel).
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// A file by device and inode.
type FileId = (u64, u64);

/// What shows of the files on which a Litestream works.
#[derive(Debug, Default)]
struct Litestream {
    /// It was stopped (SIGSTOP), and does nothing until it is told to go on.
    stopped: bool,
    /// Those that it has open; `None` where this process may not see them, or not all.
    open: Option<HashSet<FileId>>,
    /// Where those do not show: those on which it holds locks, which the kernel tells everybody.
    locked: HashSet<FileId>,
    /// The same a reading earlier: what is locked and unlocked while the kernel lists all makes it leave some out.
    locked_before: HashSet<FileId>,
}

/// The processes last seen in `/proc`.
#[derive(Debug, Default)]
pub(super) struct Processes {
    read_at: Option<Moment>,
    litestreams: HashMap<u32, Litestream>,
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
        let mut before = mem::take(&mut self.litestreams);
        for pid in pids.filter(|pid| replicates(proc, *pid)) {
            let open = open_files(proc, pid);
            let locked_before = before.remove(&pid).unwrap_or_default().locked;
            self.litestreams.insert(
                pid,
                Litestream { stopped: is_stopped(proc, pid), open, locked: HashSet::new(), locked_before },
            );
        }
        let hidden = self.litestreams.values().any(|litestream| litestream.open.is_none());
        if hidden && self.read_locks(&proc.join("locks")).is_err() {
            // Of some of them nothing follows.
            self.litestreams.values_mut().for_each(|litestream| litestream.locked.clear());
        }
        self.seen |= !self.litestreams.is_empty();
        // With `hidepid`, processes of others are there and say nothing, or do not show at all.
        let host = std::fs::read_link(proc.join("self/ns/pid")).is_ok_and(|link| link.as_os_str() == HOST_NAMESPACE);
        self.complete = host && std::fs::read(proc.join("1/cmdline")).is_ok();
    }

    pub(super) fn is_litestream(&mut self, pid: u32) -> bool {
        self.litestreams.contains_key(&pid)
            || *self.asked.entry(pid).or_insert_with(|| replicates(Path::new("/proc"), pid))
    }

    /// What is said of one that has the database open.
    pub(super) fn attached(&self, pid: u32) -> Sighting {
        if self.is_stopped(pid) { Sighting::Stopped(pid) } else { Sighting::Attached(pid) }
    }

    fn is_stopped(&self, pid: u32) -> bool {
        self.litestreams.get(&pid).is_some_and(|litestream| litestream.stopped)
    }

    /// Notes on what each Litestream holds locks.
    fn read_locks(&mut self, locks: &Path) -> io::Result<()> {
        for (number, line) in BufReader::new(File::open(locks)?).split(b'\n').enumerate() {
            let line = line?;
            if number == LOCKS_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let Some((pid, file)) = lock(&line) else { continue };
            if let Some(litestream) = self.litestreams.get_mut(&pid) {
                litestream.locked.insert(file);
            }
        }
        Ok(())
    }

    /// Whether a Litestream works on a database. One that is seen to have others open and not this one does not.
    ///
    /// `local`: the filesystem is this kernel's own, so that all locks on it show.
    pub(super) fn litestream(&self, paths: &Paths, local: bool) -> Sighting {
        let id = |path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let database = LazyCell::new(|| id(&paths.database));
        let shm = LazyCell::new(|| id(&paths.shm));
        let (mut hidden, mut elsewhere) = (None, None);
        for (pid, litestream) in &self.litestreams {
            let has = match &litestream.open {
                Some(open) => Some(database.is_some_and(|database| open.contains(&database))),
                None if local => litestream.uses(*shm),
                None => None,
            };
            match has {
                Some(true) => return self.attached(*pid),
                Some(false) => elsewhere = Some(*pid),
                None => hidden = Some(*pid),
            }
        }
        match hidden {
            Some(pid) if self.is_stopped(pid) => Sighting::Stopped(pid),
            Some(pid) => Sighting::Running(pid),
            None if elsewhere.is_some() => elsewhere.map_or(Sighting::Gone, Sighting::Elsewhere),
            None if self.complete || self.seen => Sighting::Gone,
            None => Sighting::Unknown,
        }
    }
}

impl Litestream {
    /// Whether it holds a lock on a database's `-shm`, as each connection in WAL mode does, and Litestream keeps one open;
    /// `None` where that does not show.
    fn uses(&self, shm: Option<FileId>) -> Option<bool> {
        let on = |(device, inode): FileId| {
            let same = self.locked.iter().chain(&self.locked_before).filter(move |locked| locked.1 == inode);
            // btrfs has one device for its subvolumes, and another one for its locks.
            same.map(move |locked| (locked.0 == device).then_some(true)).max()
        };
        shm.and_then(on).unwrap_or_else(|| (!self.locked.is_empty()).then_some(false))
    }
}

/// The process that holds a POSIX lock and the file, of a line of `/proc/locks` (proc_locks(5)):
/// `1: POSIX  ADVISORY  READ 5433 08:01:7864448 128 128`. Of one that waits (`1: -> POSIX`) there is none.
fn lock(line: &[u8]) -> Option<(u32, FileId)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
    words.next().filter(|kind| *kind == "POSIX")?;
    let pid = words.nth(2)?.parse().ok()?;
    let mut file = words.next()?.splitn(3, ':');
    let mut device = || u32::from_str_radix(file.next()?, 16).ok();
    let device = rustix::fs::makedev(device()?, device()?);
    Some((pid, (device, file.next()?.parse().ok()?)))
}

/// The files that a process has open, by device and inode; `None` where this process may not see them, or not all.
pub(super) fn open_files(proc: &Path, pid: u32) -> Option<HashSet<FileId>> {
    let entries = std::fs::read_dir(proc.join(pid.to_string()).join("fd")).ok()?;
    let mut files = HashSet::new();
    for entry in entries {
        if files.len() >= OPEN_FILES_MAX {
            return None;
        }
        match std::fs::metadata(entry.ok()?.path()) {
            Ok(file) => _ = files.insert((file.dev(), file.ino())),
            // CAP_DAC_READ_SEARCH lists them, and only CAP_SYS_PTRACE says what they are.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
            // What was closed meanwhile is not open.
            Err(_) => {}
        }
    }
    Some(files)
}

/// Whether a process was stopped (proc_pid_stat(5)): its state stands behind its name, which may hold anything.
fn is_stopped(proc: &Path, pid: u32) -> bool {
    let stat = std::fs::read(proc.join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit(|byte| *byte == b')').next().is_some_and(|rest| rest.starts_with(b" T"))
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

    fn works_on(processes: &Processes, database: &Path) -> Sighting {
        processes.litestream(&Paths::of(database), true)
    }

    const INIT: (u32, &[u8]) = (1, b"/sbin/init\0");
    const REPLICATE: (u32, &[u8]) = (77, b"/usr/bin/litestream\0replicate\0-config\0/etc/litestream.yml\0");

    #[test]
    fn it_is_gone_only_where_it_would_show() {
        let mut processes = Processes::default();
        processes.read(table(&[INIT], false).path());
        assert_eq!(works_on(&processes, Path::new("/srv/app.db")), Sighting::Unknown);
        processes.read(table(&[], true).path());
        assert_eq!(works_on(&processes, Path::new("/srv/app.db")), Sighting::Unknown, "init is hidden");
        processes.read(table(&[INIT], true).path());
        assert_eq!(works_on(&processes, Path::new("/srv/app.db")), Sighting::Gone);
    }

    #[test]
    fn where_it_showed_once_it_is_missed() {
        let mut processes = Processes::default();
        processes.read(table(&[INIT, REPLICATE], false).path());
        assert_eq!(works_on(&processes, Path::new("/srv/app.db")), Sighting::Running(77));
        processes.read(table(&[INIT], false).path());
        assert_eq!(works_on(&processes, Path::new("/srv/app.db")), Sighting::Gone);
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
        assert_eq!(works_on(&processes, &own), Sighting::Attached(77));
        assert_eq!(works_on(&processes, &other), Sighting::Elsewhere(77));
    }

    #[test]
    fn one_that_was_stopped_does_not_work() {
        let proc = table(&[INIT, REPLICATE], true);
        let mut processes = Processes::default();
        for (stat, seen) in [("S", Sighting::Running(77)), ("T", Sighting::Stopped(77)), ("t", Sighting::Running(77))] {
            std::fs::write(proc.path().join("77/stat"), format!("77 (a) T (b) {stat} 1 77 77 0\n")).unwrap();
            processes.read(proc.path());
            assert_eq!(works_on(&processes, Path::new("/srv/app.db")), seen, "{stat}");
        }
    }

    /// As a user to whom the files of a Litestream do not show.
    #[test]
    fn where_its_files_are_hidden_its_locks_say_on_what_it_works() {
        let proc = table(&[INIT, REPLICATE], true);
        let [own, other, closed] = ["own.db", "other.db", "closed.db"].map(|name| proc.path().join(name));
        let shm = |database| Paths::of(database).shm;
        let lock_of = |pid: u32, database| {
            std::fs::write(shm(database), "").unwrap();
            let file = std::fs::metadata(shm(database)).unwrap();
            let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
            format!("1: POSIX  ADVISORY  READ {pid} {major:02x}:{minor:02x}:{} 128 128\n", file.ino())
        };
        let mut processes = Processes::default();
        let mut read = |locks: &str| {
            std::fs::write(proc.path().join("locks"), locks).unwrap();
            processes.read(proc.path());
            [&own, &other, &closed].map(|database| works_on(&processes, database))
        };
        let running = Sighting::Running(77);
        let of_another = lock_of(5, &other);
        assert_eq!(read(&of_another), [running; 3], "no lock of it shows");
        let waits = "2: -> POSIX  ADVISORY  WRITE 77 fe:00:1 128 128\nrubbish\n3: POSIX  ADVISORY  READ 77 zz:00:1\n";
        assert_eq!(read(waits), [running; 3]);
        let attached = [Sighting::Attached(77), Sighting::Elsewhere(77), Sighting::Elsewhere(77)];
        assert_eq!(read(&(of_another + &lock_of(77, &own))), attached);
        let left_out = [Sighting::Attached(77), running, running];
        assert_eq!(read(waits), left_out, "a reading may leave one out");
        assert_eq!(read(waits), [running; 3]);
        let subvolume = lock_of(77, &own).replace(" READ 77 ", " READ 77 f");
        assert_eq!(
            read(&subvolume),
            [running, Sighting::Elsewhere(77), Sighting::Elsewhere(77)],
            "the inode of another device"
        );
        let network = processes.litestream(&Paths::of(&other), false);
        assert_eq!(network, running, "on a network filesystem, locks of others do not show");
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
        assert_eq!(works_on(&processes, Path::new("/srv/app.db")), Sighting::Gone);
    }
}
