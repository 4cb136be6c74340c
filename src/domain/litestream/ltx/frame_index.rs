//! A page index in few bytes: which pages an LTX file (v0.5) holds and where, kept while a page may be asked for.

use super::header::HEADER_SIZE;
use super::page_index::PageEntry;
use crate::domain::limits::FRAME_INDEX_BYTES_MAX;

/// The frames of one file. They follow each other from the header on, so that how long each is says where it is: about
/// three bytes for each page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameIndex {
    /// For each page how far its number is from the one before, and the bytes of its frame, as LEB128 numbers.
    steps: Box<[u8]>,
}

impl FrameIndex {
    /// Keeps the entries of an index, which are in ascending order; `None` when that takes too many bytes.
    pub fn new(entries: impl Iterator<Item = PageEntry>) -> Option<Self> {
        let (mut steps, mut previous) = (Vec::new(), 0);
        for PageEntry { page, length, .. } in entries {
            push(&mut steps, u64::from(page.saturating_sub(previous)));
            push(&mut steps, length);
            previous = page;
            if steps.len() > FRAME_INDEX_BYTES_MAX {
                return None;
            }
        }
        Some(Self { steps: steps.into() })
    }

    /// Where the frame of a page is; `None` when the file does not hold the page.
    pub fn find(&self, wanted: u32) -> Option<PageEntry> {
        let mut steps = self.steps.iter().copied();
        let (mut page, mut offset) = (0_u64, HEADER_SIZE as u64);
        while page < u64::from(wanted) {
            page += pull(&mut steps)?;
            let length = pull(&mut steps)?;
            if page == u64::from(wanted) {
                return Some(PageEntry { page: wanted, offset, length });
            }
            offset += length;
        }
        None
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.steps.len()
    }
}

fn push(steps: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        steps.push(number as u8 | 0x80);
        number >>= 7;
    }
    steps.push(number as u8);
}

fn pull(steps: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = steps.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::{PageIndex, decode_page, samples};

    proptest! {
        #[test]
        fn finds_every_page_where_the_index_has_it_and_it_decodes(file in samples::ltx_file(), other: u32) {
            let index = PageIndex::parse(&file.bytes, file.bytes.len() as u64).unwrap();
            let frames = FrameIndex::new(index.entries()).unwrap();
            for entry in index.entries() {
                prop_assert_eq!(frames.find(entry.page), Some(entry));
                let range = entry.offset as usize..(entry.offset + entry.length) as usize;
                let page = decode_page(&file.bytes[range], entry.page, file.header.page_size).unwrap();
                let content = file.pages.iter().find(|(page, _)| *page == entry.page).map(|(_, content)| content.clone());
                prop_assert_eq!(Some(page), content);
            }
            if file.pages.iter().all(|(page, _)| *page != other) {
                prop_assert_eq!(frames.find(other), None);
            }
        }

        #[test]
        fn a_damaged_frame_is_an_error_or_a_page(frame: Vec<u8>, page: u32) {
            if let Ok(content) = decode_page(&frame, page, 512) {
                prop_assert_eq!(content.len(), 512);
            }
        }
    }

    #[test]
    fn an_index_that_is_too_long_is_not_kept() {
        let entry = |page| PageEntry { page, offset: 0, length: 4000 };
        assert!(FrameIndex::new((1..=1000).map(entry)).is_some_and(|frames| frames.size() == 3000));
        assert!(FrameIndex::new((1..=FRAME_INDEX_BYTES_MAX as u32).map(entry)).is_none());
    }
}
