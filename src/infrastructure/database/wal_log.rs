//! Reads frames of a `-wal` file: to find its committed end without a wal-index, and to count what a rebuilt or reset
//! wal-index no longer tells.

use std::path::Path;

use super::files::Failure;
use super::files::{not_found, open, parse_at, read_at, stat_open};
use crate::domain::limits::{WAL_COUNT_FRAMES_MAX, WAL_SCAN_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::{
    FRAME_HEADER_BYTES, FrameHeader, WAL_HEADER_BYTES, WalHeader, WalScanner, committed_end, frame_bytes,
};

/// Bytes read at once; one frame is at most 65 560.
const CHUNK_BYTES: usize = 1 << 20;

/// Scans on from where `scanner` stopped, or from the start when the log is another one by now.
pub(super) fn scan(path: &Path, scanner: &mut Option<Box<WalScanner>>) -> Result<(), Failure> {
    let corrupt = |error| Reason::new(ReasonKind::Corrupt, format!("read {}: {error}", path.display()));
    let Some(file) = open(path)? else { return Err(Failure::transient(not_found(path))) };
    let header = || -> Result<WalHeader, Failure> {
        let header = parse_at::<WAL_HEADER_BYTES, _>(&file, path, 0, WalHeader::parse)?;
        header.map_err(|error| Failure::transient(corrupt(error)))
    };
    let started = header()?;
    let mut going = match scanner.take() {
        Some(known) if *known.header() == started => known,
        _ => Box::new(WalScanner::new(started)),
    };
    going.rewind();
    let mut chunk = vec![0; CHUNK_BYTES / going.frame_bytes() * going.frame_bytes()];
    let stop = going.offset() + WAL_SCAN_BYTES_MAX;
    loop {
        let count = read_at(&file, path, &mut chunk, going.offset())?;
        if !going.feed(&chunk[..count]) || count < chunk.len() {
            break;
        }
        if going.offset() >= stop {
            let message = format!("scan {}: stopped at byte {}", path.display(), going.offset());
            *scanner = Some(going);
            return Err(Failure::transient(Reason::new(ReasonKind::Timeout, message)));
        }
    }
    if header()? != started {
        let message = format!("scan {}: the log was reset meanwhile", path.display());
        return Err(Failure::transient(Reason::new(ReasonKind::Failed, message)));
    }
    *scanner = Some(going);
    Ok(())
}

/// Which frames of a log are meant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    pub page_size: u32,
    pub salt1: u32,
    pub salt2: u32,
}

/// Counts the commits in frames `from..to`, all of which the wal-index calls committed. `None` when they cannot be read
/// or are not of that log any more.
pub(super) fn count_commits(path: &Path, frames: Frames, from: u32, to: u32) -> Option<u64> {
    if to.checked_sub(from)? > WAL_COUNT_FRAMES_MAX {
        return None;
    }
    if from == to {
        return Some(0);
    }
    let file = open(path).ok()??;
    let mut commits = 0;
    for frame in from..to {
        let header = frame_header(&file, path, frames.page_size, frame)?;
        if (header.salt1, header.salt2) != (frames.salt1, frames.salt2) {
            return None;
        }
        commits += u64::from(header.commit_pages != 0);
    }
    Some(commits)
}

/// Where the log with these salts ended before the next one overwrote its first `overwritten` frames; it had at least
/// `known` frames. `None` when that can no longer be seen.
pub(super) fn end_before_reset(path: &Path, frames: Frames, known: u32, overwritten: u32) -> Option<u32> {
    let file = open(path).ok()??;
    let size = stat_open(&file, path).ok()?.size;
    let in_file = size.saturating_sub(WAL_HEADER_BYTES as u64) / frame_bytes(frames.page_size);
    let is_old = |frame| {
        let header = frame_header(&file, path, frames.page_size, frame)?;
        Some((header.salt1, header.salt2) == (frames.salt1, frames.salt2))
    };
    let mut old = overwritten.max(known.checked_sub(1)?);
    let mut other = u32::try_from(in_file).ok()?;
    // When the last frame known or the first one not overwritten is gone, so is what would say how many there were.
    if old >= other || !is_old(old)? {
        return None;
    }
    while other - old > 1 {
        let middle = old + (other - old) / 2;
        if is_old(middle)? { old = middle } else { other = middle }
    }
    // Frames behind the last commit were rolled back.
    while old + 1 > known && frame_header(&file, path, frames.page_size, old)?.commit_pages == 0 {
        old = old.checked_sub(1)?;
        if !is_old(old)? {
            return None;
        }
    }
    Some(old + 1)
}

fn frame_header(file: &std::fs::File, path: &Path, page_size: u32, frame: u32) -> Option<FrameHeader> {
    let offset = committed_end(frame, page_size);
    parse_at::<FRAME_HEADER_BYTES, _>(file, path, offset, |bytes| FrameHeader::parse(bytes, offset)).ok()?.ok()
}
