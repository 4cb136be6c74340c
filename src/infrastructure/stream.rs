//! A database that is written in the order of its pages, to where nothing can be changed any more.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::RestoreFile;

/// Bytes of zeros that are written at once.
const ZEROS: [u8; 4096] = [0; 4096];

/// Standard output, or whatever else takes bytes one after the other.
#[derive(Debug)]
pub struct Stream<W>(Mutex<State<W>>);

#[derive(Debug)]
struct State<W> {
    out: W,
    /// Bytes that were written.
    end: u64,
}

impl<W: Write> Stream<W> {
    pub fn new(out: W) -> Self {
        Self(Mutex::new(State { out, end: 0 }))
    }

    fn with(&self, work: impl FnOnce(&mut State<W>) -> Result<(), Reason>) -> Result<(), Reason> {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<W: Write> State<W> {
    /// Writes zeros up to an offset, as a file has them where nothing was written.
    fn reach(&mut self, offset: u64) -> Result<(), Reason> {
        let Some(mut missing) = offset.checked_sub(self.end) else {
            return Err(Reason::new(ReasonKind::Failed, "write standard output: it is behind that already"));
        };
        while missing > 0 {
            let count = missing.min(ZEROS.len() as u64);
            self.write(&ZEROS[..count as usize])?;
            missing -= count;
        }
        Ok(())
    }

    fn write(&mut self, content: &[u8]) -> Result<(), Reason> {
        self.end += content.len() as u64;
        self.out.write_all(content).map_err(failed)
    }
}

/// Standard output as it is: without a buffer of lines, and with an error where it is closed or cannot be written to.
///
/// # Errors
///
/// When there is none.
pub fn standard_output() -> Result<File, Reason> {
    let owned = std::io::stdout().as_fd().try_clone_to_owned();
    owned.map(File::from).map_err(failed)
}

/// The pipe that is written to ends early where its reader does.
pub fn failed(error: std::io::Error) -> Reason {
    Reason::from(error).context("write standard output")
}

impl<W: Write + Send> RestoreFile for Stream<W> {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        self.with(|state| {
            state.reach(offset)?;
            state.write(content)
        })
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.with(|state| state.reach(bytes))
    }

    fn sync(&self) -> Result<(), Reason> {
        self.with(|state| state.out.flush().map_err(failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_zeros_and_nothing_is_written_twice() {
        let mut out = Vec::new();
        let stream = Stream::new(&mut out);
        stream.write_at(0, b"one").unwrap();
        stream.write_at(5000, b"two").unwrap();
        assert!(stream.write_at(5002, b"x").is_err());
        stream.set_len(5004).unwrap();
        stream.sync().unwrap();
        assert!(out.len() == 5004 && out.starts_with(b"one\0") && out.ends_with(b"\0two\0"));
        assert!(out[3..5000].iter().all(|byte| *byte == 0));
    }
}
