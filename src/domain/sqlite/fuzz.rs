//! The parsers of this room on arbitrary bytes, for property tests and cargo-fuzz.

use super::{DatabaseHeader, WAL_HEADER_BYTES, WalHeader, WalIndexHeader, WalScanner};

/// Reads `data` as a `-wal` file. Panics only on a bug: a committed end behind the data, or a scan that depends on how
/// the file was cut into pieces.
pub fn wal(data: &[u8]) {
    let (head, frames) = data.split_at(data.len().min(WAL_HEADER_BYTES));
    let Ok(header) = WalHeader::parse(head) else { return };
    let mut whole = WalScanner::new(header);
    whole.feed(frames);
    assert!(whole.position().end <= data.len() as u64, "the committed end is inside the file");
    assert!(whole.commits() <= u64::from(whole.committed_frames()), "a commit has a frame");
    whole.rewind();

    let mut pieces = WalScanner::new(header);
    while let Some(piece) = data.get(pieces.offset() as usize..)
        && piece.len() >= pieces.frame_bytes()
        && pieces.feed(&piece[..pieces.frame_bytes()])
    {}
    pieces.rewind();
    assert_eq!(pieces, whole, "a scan in pieces ends where a whole one does");
}

/// Reads `data` as a `-shm` file.
pub fn wal_index(data: &[u8]) {
    if let Ok(header) = WalIndexHeader::parse(data) {
        assert!(header.backfilled <= header.frames, "no more is backfilled than committed");
        assert!(header.frames == 0 || header.position().is_some(), "frames have a page size");
    }
}

/// Reads `data` as a database file.
pub fn database_header(data: &[u8]) {
    if let Ok(header) = DatabaseHeader::parse(data) {
        assert!(header.page_size.is_power_of_two());
    }
}
