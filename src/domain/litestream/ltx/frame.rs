//! One page's frame in an LTX file (v0.5): where it ends, and what it decodes to.

use std::hash::Hasher;
use std::io::{Cursor, Read};

use lz4_flex::frame::FrameDecoder;
use twox_hash::XxHash32;

use crate::domain::litestream::format_error::Problem;
use crate::domain::litestream::input::{LZ4_MAGIC, LZ4_UNCOMPRESSED as UNCOMPRESSED, be32};

/// Page number and flags.
pub(super) const FRAME_HEADER_SIZE: usize = 6;
/// The size in front of an LZ4 block.
const BLOCK_SIZE_SIZE: usize = 4;
/// The descriptor of every LZ4 frame that Litestream until 0.5.15 writes: independent blocks of at most 64 KiB, a
/// checksum of the content at the end, nothing else; its own checksum is the last byte.
const USUAL_DESCRIPTOR: [u8; 3] = [0x64, 0x40, 0xa7];
/// The largest block of such a frame.
const USUAL_BLOCK_BYTES: usize = 64 << 10;

/// The payload is an LZ4 block behind its size (Litestream 0.5.16 and later); without it, an LZ4 frame (until 0.5.15).
pub(super) const PAGE_FLAG_BLOCK: u16 = 1;

/// The longest that LZ4 makes of a page that does not compress.
pub(super) fn longest_block(page_size: u32) -> u32 {
    page_size + page_size / 255 + 16
}

/// How far a frame reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Bytes of the frame; they are there.
    Frame(usize),
    /// The marker that ends the frames.
    Marker,
    /// So many bytes, more than there are, are needed to say more.
    Needs(usize),
}

/// How much of a frame that is not whole yet was looked at, so that one of many small blocks that arrives in pieces is
/// walked once and not again with each of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walk {
    /// The first block of an LZ4 frame that was not; 0 before there was one.
    block: usize,
    /// Blocks that were, in all frames.
    #[cfg(test)]
    pub(super) blocks: usize,
}

/// How far the frame at the start of `bytes` reaches; `walk` goes on with the same frame and more bytes of it. The error
/// is where in it, and what.
pub(super) fn frame_extent(bytes: &[u8], page_size: u32, walk: &mut Walk) -> Result<Extent, (u64, Problem)> {
    let Some((head, payload)) = bytes.split_at_checked(FRAME_HEADER_SIZE) else {
        return Ok(Extent::Needs(FRAME_HEADER_SIZE));
    };
    let flags = u16::from_be_bytes([head[4], head[5]]);
    if be32(head, 0) == 0 {
        return if flags == 0 { Ok(Extent::Marker) } else { Err((0, Problem::EndMarker(flags))) };
    }
    let length = match flags {
        PAGE_FLAG_BLOCK => block_extent(payload, page_size),
        0 => lz4_frame_extent(payload, page_size, walk),
        _ => return Err((0, Problem::PageFlags(flags))),
    };
    let length = length.map_err(|problem| (FRAME_HEADER_SIZE as u64, problem))? + FRAME_HEADER_SIZE;
    if length > bytes.len() {
        return Ok(Extent::Needs(length));
    }
    walk.block = 0;
    Ok(Extent::Frame(length))
}

/// Bytes of a block with its size, or more than there are.
fn block_extent(payload: &[u8], page_size: u32) -> Result<usize, Problem> {
    if payload.len() < BLOCK_SIZE_SIZE {
        return Ok(BLOCK_SIZE_SIZE);
    }
    let (size, longest) = (be32(payload, 0), longest_block(page_size));
    if size > longest {
        return Err(Problem::CompressedSize(size, longest));
    }
    Ok(BLOCK_SIZE_SIZE + size as usize)
}

/// Bytes of an LZ4 frame, or more than there are. Source of its format: lz4_Frame_format.md of the LZ4 project.
fn lz4_frame_extent(payload: &[u8], page_size: u32, walk: &mut Walk) -> Result<usize, Problem> {
    const FIXED: usize = LZ4_MAGIC.len() + 3;
    if payload.len() < FIXED {
        return Ok(FIXED);
    }
    if !payload.starts_with(&LZ4_MAGIC) {
        return Err(Problem::Lz4Magic(be32(payload, 0)));
    }
    let (flags, blocks) = (payload[LZ4_MAGIC.len()], payload[LZ4_MAGIC.len() + 1]);
    check_block_size(blocks)?;
    let has = |bit: u8, bytes: usize| if flags & 1 << bit == 0 { 0 } else { bytes };
    let (dictionary, content_checksum, content_size, block_checksum) = (has(0, 4), has(2, 4), has(3, 8), has(4, 4));
    let mut at = walk.block.max(FIXED + content_size + dictionary);
    // A block holds at least one byte, and one byte never takes more than this.
    let longest = page_size as usize * 16 + 1024;
    loop {
        walk.block = at;
        let Some(size) = payload.get(at..).and_then(|rest| rest.first_chunk()) else { return Ok(at + 4) };
        let size = u32::from_le_bytes(*size);
        #[cfg(test)]
        (walk.blocks += 1);
        at += 4;
        if size == 0 {
            return Ok(at + content_checksum);
        }
        let block = (size & !UNCOMPRESSED) as usize;
        if block == 0 {
            return Err(Problem::Decompress("empty block".to_owned()));
        }
        at += block + block_checksum;
        if at > longest {
            let saturated = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
            return Err(Problem::CompressedSize(saturated(at), saturated(longest)));
        }
    }
}

/// Refuses blocks that are larger than any page, for which a decoder clears megabytes.
pub(super) fn check_block_size(descriptor: u8) -> Result<(), Problem> {
    if descriptor >> 4 & 7 > USUAL_DESCRIPTOR[1] >> 4 {
        return Err(Problem::Decompress("blocks of more than 64 KiB".to_owned()));
    }
    Ok(())
}

/// Decodes a frame into a page. Gives the bytes in front of the page's content that the checksum covers as they are.
pub(super) fn decode_frame<'a>(frame: &'a [u8], page: &mut [u8]) -> Result<&'a [u8], Problem> {
    let (head, payload) = frame.split_at_checked(FRAME_HEADER_SIZE).ok_or(Problem::Truncated)?;
    let (length, covered) = if head.ends_with(&PAGE_FLAG_BLOCK.to_be_bytes()) {
        let covered = frame.split_at_checked(FRAME_HEADER_SIZE + BLOCK_SIZE_SIZE).ok_or(Problem::Truncated)?;
        (decompress(covered.1, page)?, covered.0)
    } else {
        (decode_lz4_frame(payload, page)?, head)
    };
    if length != page.len() {
        return Err(Problem::DecompressedSize(length as u64, page.len() as u32));
    }
    Ok(covered)
}

fn decompress(block: &[u8], page: &mut [u8]) -> Result<usize, Problem> {
    lz4_flex::block::decompress_into(block, page).map_err(|error| Problem::Decompress(error.to_string()))
}

/// The usual frame is decoded in place. Others, which no Litestream is known to write, are left to the library.
fn decode_lz4_frame(frame: &[u8], page: &mut [u8]) -> Result<usize, Problem> {
    let Some(mut blocks) = frame.get(LZ4_MAGIC.len()..).and_then(|rest| rest.strip_prefix(&USUAL_DESCRIPTOR)) else {
        return decode_unusual_lz4_frame(frame, page);
    };
    let mut filled = 0;
    loop {
        let (size, rest) = blocks.split_first_chunk().ok_or(Problem::Truncated)?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            blocks = rest;
            break;
        }
        let length = (size & !UNCOMPRESSED) as usize;
        let (block, rest) = rest.split_at_checked(length).ok_or(Problem::Truncated)?;
        let room = page.get_mut(filled..).unwrap_or_default();
        if length > USUAL_BLOCK_BYTES {
            return Err(Problem::Decompress(format!("a block of {length} bytes")));
        }
        filled += if size & UNCOMPRESSED == 0 {
            decompress(block, room)?
        } else {
            let room = room.get_mut(..length);
            room.ok_or_else(|| Problem::Decompress("more than a page".to_owned()))?.copy_from_slice(block);
            length
        };
        blocks = rest;
    }
    let mut content = XxHash32::with_seed(0);
    content.write(page.get(..filled).unwrap_or_default());
    if content.finish() as u32 != blocks.first_chunk().map_or(0, |found| u32::from_le_bytes(*found)) {
        return Err(Problem::Decompress("content checksum differs".to_owned()));
    }
    Ok(filled)
}

fn decode_unusual_lz4_frame(frame: &[u8], page: &mut [u8]) -> Result<usize, Problem> {
    let failed = |error: std::io::Error| Problem::Decompress(error.to_string());
    let mut decoder = FrameDecoder::new(Cursor::new(frame));
    let mut filled = 0;
    while let Some(room) = page.get_mut(filled..).filter(|room| !room.is_empty()) {
        match decoder.read(room).map_err(failed)? {
            0 => break,
            count => filled += count,
        }
    }
    // Reading behind the page makes the decoder read the frame's end and compare its checksum.
    filled += decoder.read(&mut [0]).map_err(failed)?;
    if decoder.get_ref().position() != frame.len() as u64 {
        return Err(Problem::Decompress("bytes after the content".to_owned()));
    }
    Ok(filled)
}
