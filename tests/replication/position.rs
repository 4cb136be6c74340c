//! Positions as their formats are documented, read here without the product's own parsers.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A place in a write-ahead log.
#[derive(Debug, PartialEq, Eq)]
pub struct Position {
    /// Both salts as they stand in the log's header.
    pub salts: [u8; 8],
    /// Bytes from the start of the file.
    pub end: u64,
}

/// Where the committed log of a database ends, by its wal-index (SQLite, `walIndexHdr`; numbers are native).
pub fn of_source(database: &Path) -> Position {
    let index = fs::read(with_suffix(database, "-shm")).unwrap();
    assert_eq!(index[..48], index[48..96], "nobody writes while this is read");
    let page_size = u64::from(u16::from_ne_bytes(chunk(&index, 14)));
    let frames = u64::from(u32::from_ne_bytes(chunk(&index, 16)));
    Position { salts: chunk(&index, 32), end: 32 + frames * (24 + page_size) }
}

/// Where the newest file of a replica's folder ends.
pub fn of_replica(replica: &Path) -> Position {
    let generations = replica.join("generations");
    if generations.exists() { of_segments(&generations) } else { of_level_0(replica) }
}

/// v0.5: the header of the newest file of level 0 (LTX: WAL offset, WAL size and salts at byte 48).
fn of_level_0(replica: &Path) -> Position {
    let file = fs::read(newest(&level_0(replica))).unwrap();
    let number = |at| u64::from_be_bytes(chunk(&file, at));
    Position { salts: chunk(&file, 64), end: number(48) + number(56) }
}

/// The folder of level 0, which S3 names in another way than a directory.
fn level_0(replica: &Path) -> PathBuf {
    let plain = replica.join("ltx/0");
    if plain.exists() { plain } else { replica.join("0000") }
}

/// v0.3: the name of the newest segment says where it begins, and its content how long it is.
fn of_segments(generations: &Path) -> Position {
    let file = newest_segment(generations);
    let name = file.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    let offset = u64::from_str_radix(name.split_once('_').unwrap().1, 16).unwrap();
    let mut content = Vec::new();
    lz4_flex::frame::FrameDecoder::new(fs::File::open(file).unwrap()).read_to_end(&mut content).unwrap();
    // Salts are in the header of the log at its beginning, and in the header of a frame elsewhere.
    let salts = chunk(&content, if offset == 0 { 16 } else { 8 });
    Position { salts, end: offset + content.len() as u64 }
}

/// The newest segment of the one generation.
pub fn newest_segment(generations: &Path) -> PathBuf {
    let found: Vec<_> = fs::read_dir(generations).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 1, "one generation: {found:?}");
    newest(&found[0].join("wal"))
}

/// The last file by name.
pub fn newest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| !file.to_string_lossy().ends_with(".tmp")).max().unwrap()
}

pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().unwrap()
}
