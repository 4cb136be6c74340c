//! The bytes of an answer, in one piece or in several that are made while they are sent.

use bytes::Bytes;

/// Bytes whose number is known before they are all there.
pub struct Pieces {
    left: u64,
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Pieces {
    /// `length` bytes in all.
    pub fn new(length: u64, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self { left: length, pieces: Box::new(pieces) }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.next()?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Some(piece)
    }
}

impl<T: Into<Bytes>> From<T> for Pieces {
    fn from(bytes: T) -> Self {
        let bytes: Bytes = bytes.into();
        Self::new(bytes.len() as u64, std::iter::once(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.left)
    }
}
