//! The WAL of a database that there are only numbers of: where it ends, and when it begins anew.

use crate::wal::{Position, end_of};

/// A WAL without content.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    page_size: u32,
    pub salt: u32,
    pub frames: u32,
    /// How many of them are in the database file.
    pub backfilled: u32,
    /// Somebody has the database open; otherwise there is no WAL.
    pub open: bool,
}

impl Log {
    /// An empty WAL with this salt, from which the second one follows.
    pub fn new(salt: u32, page_size: u32) -> Self {
        Self { page_size, salt, frames: 0, backfilled: 0, open: true }
    }

    /// The end of so many frames in a WAL with this salt.
    pub fn position_of(salt: u32, frames: u32, page_size: u32) -> Position {
        Position { salt1: salt, salt2: salt.wrapping_mul(7), end: end_of(frames, page_size) }
    }

    /// Where it ends.
    pub fn position(&self) -> Position {
        Self::position_of(self.salt, self.frames, self.page_size)
    }

    /// A transaction of so many frames. Whether the log began anew for it: it does when all of it is in the database file
    /// and no reader needs it as it is.
    pub fn commit(&mut self, frames: u32, held: bool) -> bool {
        let anew = !self.open || (self.backfilled == self.frames && self.frames > 0 && !held);
        if anew {
            *self = Self::new(self.salt + 1, self.page_size);
        }
        self.frames += frames;
        anew
    }

    /// Copies frames into the database, as far as readers let it.
    pub fn backfill(&mut self, reader: Option<u32>) {
        self.backfilled = reader.unwrap_or(self.frames).min(self.frames).max(self.backfilled);
    }

    /// The last connection closes and takes the log along.
    pub fn close(&mut self) {
        *self = Self { open: false, ..Self::new(self.salt, self.page_size) };
    }
}
