//! What an object (v0.3) holds, decrypted and decompressed, apart from what is made of it.

use std::io::Read;

use super::encryption::AgeIdentities;
use crate::domain::limits::REPLAY_BATCH_BYTES;
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::Input;
use crate::domain::litestream::lz4::{Batch, FrameEnd, Lz4Blocks};
use crate::domain::litestream::object::ObjectName;

/// What comes next in an object. Nothing is proven by this alone: whoever takes it compares the checksum.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The last of an object may be empty.
    pub(super) content: Batch,
    pub(super) end: Option<End>,
}

/// The end of an object.
#[derive(Debug)]
pub(super) struct End {
    pub(super) frame: FrameEnd,
    /// Nothing may follow.
    pub(super) behind: Result<(), FormatError>,
}

/// Decodes objects one after the other, in memory that is used again.
pub struct Decoder {
    identities: AgeIdentities,
    /// A block before it is decoded.
    compressed: Vec<u8>,
    /// What was decoded and not handed over.
    batch: Batch,
}

impl Decoder {
    pub fn new(identities: AgeIdentities) -> Self {
        Self { identities, compressed: Vec::new(), batch: Batch::default() }
    }

    /// Decodes an object, one LZ4 frame, and hands over what it holds in order, up to its end or the first error. `take`
    /// gives memory for what follows, `None` where nobody wants it.
    pub(super) fn decode(
        &mut self,
        name: ObjectName,
        object: impl Read,
        mut take: impl FnMut(Result<Decoded, FormatError>) -> Option<Batch>,
    ) {
        let problem = match name {
            ObjectName::Snapshot(..) => Problem::DecompressSnapshot,
            _ => Problem::DecompressSegment,
        };
        let last = match self.identities.open(object) {
            Ok(mut content) => match self.frame(&mut content, problem, |decoded| take(Ok(decoded))) {
                Ok(None) => return,
                Ok(Some(End { frame, behind })) => {
                    Ok(Some(End { frame, behind: behind.map_err(|error| content.blame(error)) }))
                }
                Err(error) => Err(content.blame(error)),
            },
            Err(error) => Err(error),
        };
        let last = last.map(|end| Decoded { content: std::mem::take(&mut self.batch), end });
        self.batch = take(last).unwrap_or_default();
    }

    /// Says how the frame ended; what is last in it stays here.
    fn frame(
        &mut self,
        content: &mut impl Read,
        problem: fn(String) -> Problem,
        mut take: impl FnMut(Decoded) -> Option<Batch>,
    ) -> Result<Option<End>, FormatError> {
        let Self { compressed, batch, .. } = self;
        let mut input = Input::new(content);
        let mut blocks = Lz4Blocks::begin(&mut input, compressed)?;
        batch.clear();
        while blocks.fill(batch, REPLAY_BATCH_BYTES, problem)? {
            let Some(memory) = take(Decoded { content: std::mem::take(batch), end: None }) else { return Ok(None) };
            *batch = memory;
            batch.clear();
        }
        let checksum = blocks.content_checksum();
        drop(blocks);
        let frame = FrameEnd { checksum, offset: input.offset(), problem };
        Ok(Some(End { frame, behind: input.finish() }))
    }
}
