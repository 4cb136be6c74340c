//! LTX files (v0.5): structure from both ends, content from all of it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Reader, Stop};
use crate::domain::limits::VERIFY_INDEX_BYTES_MAX;
use crate::domain::litestream::{
    FormatError, FrameIndex, HEADER_SIZE, LtxHeader, LtxName, LtxSummary, PageIndex, decode,
};
use crate::domain::sqlite::lock_page;
use crate::domain::verification::{Facts, FindingKind, Outcome, PageSet, TAIL_BYTES};

/// The header and the flags of the first page behind it, which tell the encoding.
const HEAD_BYTES: u64 = HEADER_SIZE as u64 + 6;

/// Bytes that end a file and say how long its index is.
const END_BYTES: u64 = 24;

/// A file of which everything is there.
pub(super) fn whole(name: LtxName, content: &Bytes) -> Result<Outcome, Stop> {
    LtxHeader::parse(content)?.check_name(name)?;
    let mut pages = PageSet::default();
    let summary = decode(content.as_ref(), |page, _| pages.push(page))?;
    let index = PageIndex::parse(content, content.len() as u64)?;
    Ok(good(&summary, blocks(content), pages, true, FrameIndex::new(index.entries())))
}

/// The flag of the first page; a file without pages has none.
fn blocks(head: &[u8]) -> bool {
    let page = head.get(HEADER_SIZE..HEADER_SIZE + 4).is_some_and(|page| page != [0; 4]);
    page && head.get(HEADER_SIZE + 5).is_some_and(|flags| flags & 1 == 1)
}

fn good(summary: &LtxSummary, blocks: bool, pages: PageSet, content: bool, frames: Option<FrameIndex>) -> Outcome {
    let LtxHeader { page_size, commit, .. } = summary.header;
    let dense_from = pages.dense_from(commit, lock_page(page_size));
    let facts = Facts::Ltx { page_size, commit, checksum: summary.file_checksum, blocks, dense_from };
    Outcome::Good { content, facts, pages: pages.complete(), frames: frames.map(Arc::new) }
}

impl Reader<'_> {
    /// Header and page index: two requests, three for a long index.
    pub(super) async fn structure(&mut self, name: LtxName) -> Result<Outcome, Stop> {
        let size = self.job.object.size;
        let head = self.range(0, HEAD_BYTES).await?;
        let header = LtxHeader::parse(&head)?;
        header.check_name(name)?;
        let length = TAIL_BYTES.min(size);
        let mut tail = self.range(size - length, length).await?;
        if (tail.len() as u64) < length {
            let detail = format!("it ends before byte {size}, the size that was listed");
            return Err(Stop::Bad(FindingKind::Truncated, detail));
        }
        let needed = PageIndex::tail_size(&tail, size).map_err(cut)?;
        if needed > VERIFY_INDEX_BYTES_MAX {
            return Ok(Outcome::TooLong);
        }
        if needed > length {
            let end = tail.slice(tail.len() - END_BYTES as usize..);
            tail = self.range(size - needed, needed).await?;
            if !tail.ends_with(&end) {
                // It was replaced between two requests: another time.
                return Ok(Outcome::Failed);
            }
        }
        let index = PageIndex::parse(&tail, size).map_err(cut)?;
        index.check_pages(&header)?;
        let mut pages = PageSet::default();
        index.entries().for_each(|entry| pages.push(entry.page));
        let summary = LtxSummary { header, pages: index.pages, bytes: size, file_checksum: index.file_checksum };
        let frames = FrameIndex::new(index.entries());
        Ok(good(&summary, blocks(&head), pages, false, frames))
    }

    /// Every page, and the checksum over them.
    pub(super) async fn content(&mut self, name: LtxName) -> Result<Outcome, Stop> {
        self.stream(move |mut chunks| {
            let mut head = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(&mut chunks, HEAD_BYTES), &mut head)
                .map_err(|error| Stop::Unread(error.into()))?;
            LtxHeader::parse(&head)?.check_name(name)?;
            let mut pages = PageSet::default();
            let whole = std::io::Read::chain(head.as_slice(), chunks);
            let summary = decode(whole, |page, _| pages.push(page))?;
            Ok(good(&summary, blocks(&head), pages, true, None))
        })
        .await
    }
}

/// The verdict on an object that does not end like a file: its end alone does not tell whether some of it is missing or
/// there is more than there should be.
fn cut(error: FormatError) -> Stop {
    match Stop::from(error) {
        Stop::Bad(FindingKind::Corrupt, detail) => {
            let detail = format!("it does not end like an LTX file: cut off, added to or damaged: {detail}");
            Stop::Bad(FindingKind::Truncated, detail)
        }
        other => other,
    }
}
