//! Writes LTX files as Litestream ≥ 0.5.16 does: LZ4 block pages, no database checksums, a page index, a CRC trailer.
//!
//! Pages, index and checksum share nothing with the reader in `domain::litestream`, so that a test of one against the
//! other proves something.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crc_fast::{CrcAlgorithm, Digest};

use crate::domain::litestream::LtxHeader;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::lock_page;

/// Pages by page number.
pub type Pages = BTreeMap<u32, Vec<u8>>;

/// Page flag: a length and one raw LZ4 block follow.
const LZ4_BLOCK: u16 = 1;
/// Set in every checksum, so that a real one is never zero.
const CHECKSUM_PRESENT: u64 = 1 << 63;

/// One whole file. Pages beyond `header.commit` are left out.
pub fn encode(header: &LtxHeader, pages: &Pages) -> Result<Vec<u8>, Reason> {
    let lock_page = lock_page(header.page_size);
    let mut crc = Digest::new(CrcAlgorithm::Crc64GoIso);
    let mut file = header.encode().to_vec();
    crc.update(&file);

    let mut index = Vec::new();
    for (&number, page) in pages.range(1..=header.commit).filter(|&(&number, _)| number != lock_page) {
        if page.len() != header.page_size as usize {
            let message = format!("encode page {number}: {} bytes instead of {}", page.len(), header.page_size);
            return Err(Reason::new(ReasonKind::Corrupt, message));
        }
        let start = file.len();
        let block = lz4_flex::block::compress(page);
        // A page has at most 64 KiB, so its block is far below 4 GiB.
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        file.extend_from_slice(&number.to_be_bytes());
        file.extend_from_slice(&LZ4_BLOCK.to_be_bytes());
        file.extend_from_slice(&length.to_be_bytes());
        crc.update(&file[start..]);
        // The checksum covers the page, not the block.
        crc.update(page);
        file.extend_from_slice(&block);
        for value in [u64::from(number), start as u64, (file.len() - start) as u64] {
            push_varint(&mut index, value);
        }
    }
    index.push(0);

    let tail = file.len();
    file.extend_from_slice(&[0; 6]);
    file.extend_from_slice(&index);
    file.extend_from_slice(&(index.len() as u64).to_be_bytes());
    file.extend_from_slice(&[0; 8]);
    crc.update(&file[tail..]);
    file.extend_from_slice(&(crc.finalize() | CHECKSUM_PRESENT).to_be_bytes());
    Ok(file)
}

/// Puts `bytes` at `path` whole or not at all, dated `timestamp` (milliseconds since 1970) as Litestream does.
pub fn place(path: &Path, bytes: &[u8], timestamp: u64) -> Result<(), Reason> {
    let doing = |error: std::io::Error| Reason::from(error).context(format!("write {}", path.display()));
    let temporary = path.with_extension("ltx.tmp");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(doing)?;
    }
    let mut file = File::create(&temporary).map_err(doing)?;
    file.write_all(bytes).map_err(doing)?;
    file.sync_all().map_err(doing)?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp)).map_err(doing)?;
    fs::rename(&temporary, path).map_err(doing)
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// A file that Litestream 0.5.17 wrote.
    const GENUINE: &str = "\
        4c54583100000002000010000000000400000000000000020000000000000002000001a20287e5df0000000000000000000000000000\
        70c800000000000010186fd8a9b2ecaae4cb000000000000000000000000000000000000000000000000000000000000000200010000\
        002fdf0d000000020ff2000ff90ff2000100ffffffffffffffffffffffffffffffe1e005020300117231050103001172300000000000\
        000264390000000000000000040000000000000000899dbd2c70d619e9";

    #[test]
    fn a_file_of_the_real_litestream_is_written_again_byte_for_byte() {
        let genuine = hex(GENUINE);
        let page = lz4_flex::block::decompress(&genuine[110..157], 4096).unwrap();
        let header = LtxHeader::parse(&genuine).unwrap();
        assert_eq!(encode(&header, &Pages::from([(2, page.clone())])).unwrap(), genuine);

        let page_beyond_the_end = Pages::from([(2, page.clone()), (5, page)]);
        assert_eq!(encode(&header, &page_beyond_the_end).unwrap(), genuine);
    }
}
