//! The resources that this process uses, from `/proc/self`. The agent reads it before it makes a report, never a
//! scrape.

use std::panic;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::domain::assessment::ProcessReport;
use crate::domain::limits::DESCRIPTORS_MAX;

/// Clock ticks per second in `/proc/<pid>/stat`: Linux fixes what it shows to programs at 100 on every architecture
/// this program is built for (`USER_HZ`), whatever the kernel's own tick is.
const USER_HZ: f64 = 100.0;

/// Panics of this process since they are counted.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts the panics from now on, of whatever thread.
pub fn count_panics() {
    let as_before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        as_before(panic);
    }));
}

/// Reads what this process uses now; `None` where `/proc` is missing or says something unexpected.
pub fn read() -> Option<ProcessReport> {
    let proc = Path::new("/proc/self");
    Some(ProcessReport {
        cpu_seconds: cpu_seconds(&std::fs::read_to_string(proc.join("stat")).ok()?)?,
        resident_memory_bytes: resident_bytes(&std::fs::read_to_string(proc.join("status")).ok()?)?,
        open_fds: descriptors(&proc.join("fd"))?,
        max_fds: getrlimit(Resource::Nofile).current,
        panics: PANICS.load(Ordering::Relaxed),
    })
}

/// How many descriptors are open. Linux 6.2 and later say it as the size of the directory, before which it has to be read.
fn descriptors(directory: &Path) -> Option<u64> {
    match std::fs::metadata(directory).ok()?.len() {
        // The directory being read is open itself.
        0 => Some((std::fs::read_dir(directory).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

/// Lets this process open as many files as it can use, if its hard limit allows. Returns how many it may open now; `None`
/// is any number.
pub fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS_MAX, |most| most.min(DESCRIPTORS_MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        // What is refused stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current
}

/// The name of this host.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// utime and stime, fields 14 and 15 of proc(5) `stat`. The second field is the program's name in brackets and may
/// hold blanks and brackets itself.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system) as f64 / USER_HZ)
}

/// `VmRSS` of proc(5) `status`, which is in KiB whatever its unit is called.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "4242 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 99";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("4242 (a) S 1 2"), None);
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn panics_are_counted() {
        count_panics();
        let before = read().expect("there is a /proc").panics;
        assert!(panic::catch_unwind(|| panic!("told to panic")).is_err());
        assert!(read().expect("there is a /proc").panics > before);
    }

    #[test]
    fn resident_memory_is_in_kib() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("VmRSS: 99999999999999999999 kB"), None);
        assert_eq!(resident_bytes("Name: x"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let process = read().expect("/proc/self is readable");
        assert!(process.resident_memory_bytes > 0);
        assert!(process.open_fds > 0);
        let descriptors = Path::new("/proc/self/fd");
        let listed = std::fs::read_dir(descriptors).unwrap().count() as u64;
        // Other tests open and close some meanwhile.
        assert!(super::descriptors(descriptors).unwrap().abs_diff(listed) < 100);
    }
}
