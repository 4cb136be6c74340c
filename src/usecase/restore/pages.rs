//! Which pages of a database are written already, in memory proportional to those that there are.

/// Pages in one block of bits.
const BLOCK_PAGES: usize = 1 << 16;

/// One bit for each page: pages are written in any order.
#[derive(Debug, Default)]
pub(super) struct WrittenPages {
    blocks: Vec<Option<Box<[u64; BLOCK_PAGES / 64]>>>,
}

impl WrittenPages {
    /// Adds a page; false when it was there already.
    pub(super) fn insert(&mut self, page: u32) -> bool {
        let (block, word, bit) = place(page);
        if self.blocks.len() <= block {
            self.blocks.resize(block + 1, None);
        }
        let words = self.blocks[block].get_or_insert_with(|| Box::new([0; BLOCK_PAGES / 64]));
        let new = words[word] & bit == 0;
        words[word] |= bit;
        new
    }

    fn contains(&self, page: u32) -> bool {
        let (block, word, bit) = place(page);
        self.blocks.get(block).and_then(Option::as_ref).is_some_and(|words| words[word] & bit != 0)
    }

    /// The first page behind `after` and up to `last` that is not there.
    pub(super) fn missing(&self, after: u32, last: u32, except: u32) -> Option<u32> {
        (after..last).map(|before| before + 1).find(|page| *page != except && !self.contains(*page))
    }
}

fn place(page: u32) -> (usize, usize, u64) {
    let page = page as usize;
    (page / BLOCK_PAGES, page % BLOCK_PAGES / 64, 1 << (page % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_what_was_added_and_finds_what_was_not() {
        let mut pages = WrittenPages::default();
        let last = 3 * BLOCK_PAGES as u32;
        assert_eq!(pages.missing(0, last, 0), Some(1));
        for page in (1..=last).filter(|page| ![70_000, 70_001].contains(page)) {
            assert!(pages.insert(page));
        }
        assert!(!pages.insert(5));
        assert_eq!(pages.missing(0, last, 0), Some(70_000));
        assert_eq!(pages.missing(0, last, 70_000), Some(70_001));
        assert_eq!(pages.missing(70_001, last, 0), None);
        assert!(pages.insert(u32::MAX));
        assert_eq!(pages.missing(u32::MAX - 2, u32::MAX, 0), Some(u32::MAX - 1));
    }
}
