//! A clock that is moved by hand, for a real program: hours of holding and keeping take seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::command;

/// By how much the clocks of a program are ahead of this machine's, wall clock and monotonic alike.
pub struct LabClock {
    file: PathBuf,
    ahead: i64,
    /// What the wall clock alone is ahead of that.
    stepped: i64,
}

impl LabClock {
    /// `ahead` in seconds; negative is behind.
    pub fn new(directory: &Path, ahead: i64) -> Self {
        let clock = Self { file: directory.join("clock"), ahead: ahead * 1_000_000_000, stepped: 0 };
        fs::write(&clock.file, clock.bytes()).unwrap();
        clock
    }

    /// The program that is started goes by this clock, and so do its children.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("LAB_CLOCK", &self.file);
    }

    /// Time goes by.
    pub fn pass(&mut self, time: Duration) {
        self.ahead += time.as_nanos() as i64;
        self.tell();
    }

    /// Somebody sets the wall clock so many seconds ahead; negative is back.
    pub fn step(&mut self, seconds: i64) {
        self.stepped += seconds * 1_000_000_000;
        self.tell();
    }

    fn bytes(&self) -> Vec<u8> {
        [self.ahead.to_ne_bytes(), self.stepped.to_ne_bytes()].concat()
    }

    fn tell(&self) {
        // In place: programs have it mapped.
        let file = fs::File::options().write(true).open(&self.file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &self.bytes(), 0).unwrap();
    }
}

/// The library to preload, built once a run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(directory).unwrap();
        let (built, library) = (directory.join(format!("clock.{}", std::process::id())), directory.join("clock.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/clock.c");
        let mut compiler = command(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&built).arg(source);
        let done = compiler.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        // Whole, even when another test binary does the same.
        fs::rename(built, &library).unwrap();
        library
    })
}
