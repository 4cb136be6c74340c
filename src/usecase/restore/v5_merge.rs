//! Restoring a v0.5 replica to a stream. All planned files are read beside each other: each is sorted by page, so that
//! what is newest of each page can be written in the order of the pages, with a few pieces of each file in memory.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, spawn_blocking};

use super::reading::{Pieces, Reader, Task, ahead, stopped};
use super::request::RestoreOptions;
use super::v5::{check_first_page, none_holds, other_page_size};
use crate::domain::limits::STREAMED_FILES_MAX;
use crate::domain::litestream::{Layout, Listed, LtxCutter, LtxHeader, LtxSummary, PageBuffer, Sum};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestorePlan, Restored, RestoredObject};
use crate::domain::sqlite::lock_page;
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

/// Whether a plan can be restored in the order of the pages.
pub(super) fn is_mergeable(plan: &RestorePlan) -> bool {
    matches!(plan.layout, Layout::V5(_)) && plan.base.is_none() && plan.objects.len() <= STREAMED_FILES_MAX
}

pub(super) async fn restore_in_order(
    store: Arc<dyn ReplicaStore>,
    plan: Arc<RestorePlan>,
    file: Arc<dyn RestoreFile>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Result<Restored, Reason> {
    let reader = Arc::new(Reader::new(store, plan.layout.keys(), progress));
    let open = |object: &Listed| Source::open(&reader, &plan, *object, options.downloads);
    let (sources, works): (Vec<Source>, Vec<Work>) = plan.objects.iter().map(open).unzip();
    let merged = spawn_blocking(move || merge(sources, &*file)).await.map_err(stopped)?;
    let (mut objects, mut newest, mut failed) = (Vec::new(), None, None);
    for ((work, _task), object) in works.into_iter().zip(&plan.objects) {
        match work.await.map_err(stopped)? {
            Ok(Some(LtxSummary { header, bytes, file_checksum, .. })) => {
                let checksum = format!("{file_checksum:016x}");
                objects.push(RestoredObject { key: plan.key(object), bytes, checksum });
                newest = Some(header);
            }
            Ok(None) => {}
            Err(reason) => failed = Some(reason),
        }
    }
    // A file that cannot be read explains what could not be merged.
    if let Some(reason) = failed {
        return Err(reason);
    }
    merged?;
    let header = newest.ok_or_else(|| Reason::new(ReasonKind::NotFound, "restore: nothing is planned"))?;
    Ok(Restored {
        bytes: u64::from(header.commit) * u64::from(header.page_size),
        page_size: header.page_size,
        pages: header.commit,
        txid: plan.txid,
        position: header.wal_end(),
        trailing_bytes: 0,
        objects,
        downloaded_bytes: reader.received(),
        requests: reader.requests(),
    })
}

/// What a file gave when it was read to its end: `None` where nobody wanted to know the rest.
type Work = (JoinHandle<Result<Option<LtxSummary>, Reason>>, Task);

/// What comes next in a file.
enum Item {
    Header(LtxHeader),
    /// Pages that follow each other, and the number of the first.
    Pages(u32, Bytes),
    /// All of it is proven.
    End,
}

/// One planned file.
struct Source {
    key: String,
    items: Receiver<Item>,
    /// The pages that were read last, from `first` on.
    pages: Bytes,
    first: u32,
    page_size: usize,
    /// What this file holds behind it was cut off since.
    limit: u32,
    ended: bool,
}

impl Source {
    /// Starts reading an object.
    fn open(reader: &Arc<Reader>, plan: &RestorePlan, object: Listed, downloads: usize) -> (Self, Work) {
        let (sink, items) = channel(1);
        // Most of the requests for where most of the bytes are.
        let share = (downloads as u64).saturating_mul(object.size).checked_div(plan.bytes()).unwrap_or(0);
        let (pieces, task) = ahead(reader, vec![object], share as usize);
        let key = plan.key(&object);
        let own = key.clone();
        let work = spawn_blocking(move || decode(object, pieces, &sink, &|reason: Reason| reason.of_object(&own)));
        (Self { key, items, pages: Bytes::new(), first: 0, page_size: 1, limit: 0, ended: false }, (work, task))
    }

    /// The next page that is there. Blocking.
    ///
    /// # Errors
    ///
    /// When the file could not be read: it says why itself.
    fn page(&mut self) -> Result<Option<u32>, Reason> {
        while self.pages.is_empty() && !self.ended {
            match self.items.blocking_recv() {
                Some(Item::Pages(first, pages)) => (self.first, self.pages) = (first, pages),
                Some(Item::Header(_)) => {}
                Some(Item::End) => self.ended = true,
                None => return Err(ended()),
            }
        }
        Ok((!self.pages.is_empty() && self.first <= self.limit).then_some(self.first))
    }

    fn header(&mut self) -> Result<LtxHeader, Reason> {
        match self.items.blocking_recv() {
            Some(Item::Header(header)) => Ok(header),
            _ => Err(ended()),
        }
    }

    /// Pages that follow each other here.
    fn run(&self) -> u32 {
        (self.pages.len() / self.page_size) as u32
    }

    /// Leaves out so many pages.
    fn skip(&mut self, pages: u32) {
        self.pages.advance((pages as usize * self.page_size).min(self.pages.len()));
        self.first = self.first.saturating_add(pages);
    }
}

fn ended() -> Reason {
    Reason::new(ReasonKind::Failed, "restore: a planned file has ended early")
}

/// Cuts, decodes and proves one file, as it arrives. Blocking.
fn decode(
    object: Listed,
    mut pieces: Pieces,
    sink: &Sender<Item>,
    read: &impl Fn(Reason) -> Reason,
) -> Result<Option<LtxSummary>, Reason> {
    let (mut cutter, mut sum, mut buffer) = (LtxCutter::default(), Sum::default(), PageBuffer::default());
    let (mut begun, mut wanted) = (false, true);
    while let Some(piece) = pieces.blocking_next() {
        let (content, _) = piece?;
        let chunk = cutter.push(content).map_err(|error| read(error.into()))?;
        if let (false, Some(header)) = (begun, cutter.header()) {
            begun = true;
            let name = object.name.ltx().map_or(Ok(()), |name| header.check_name(name));
            name.map_err(|error| read(error.into()))?;
            wanted = sink.blocking_send(Item::Header(*header)).is_ok();
        }
        if chunk.is_empty() {
            continue;
        }
        let decoded = chunk.decode(&mut buffer, |page, content| {
            if page == 1 {
                check_first_page(content, chunk.page_size())
                    .map_err(|cause| Reason::new(ReasonKind::Corrupt, cause))?;
            }
            wanted = wanted && sink.blocking_send(Item::Pages(page, Bytes::copy_from_slice(content))).is_ok();
            Ok(())
        });
        if !wanted {
            return Ok(None);
        }
        sum = sum.then(decoded.map_err(read)?);
    }
    let end = cutter.finish().map_err(|error| read(error.into()))?;
    let summary = end.prove(sum).map_err(|error| read(error.into()))?;
    // Whoever merges may have ended with what it needed.
    let _ = sink.blocking_send(Item::End);
    Ok(Some(summary))
}

/// Writes what is newest of each page, in the order of the pages. Blocking.
fn merge(mut sources: Vec<Source>, file: &dyn RestoreFile) -> Result<(), Reason> {
    let headers: Vec<LtxHeader> = sources.iter_mut().map(Source::header).collect::<Result<_, _>>()?;
    let Some(newest) = headers.last() else { return Ok(()) };
    let mut fewest = u32::MAX;
    for (source, header) in sources.iter_mut().zip(&headers).rev() {
        if header.page_size != newest.page_size {
            let cause = other_page_size(header.page_size, newest.page_size);
            return Err(Reason::new(ReasonKind::Corrupt, cause).of_object(&source.key));
        }
        fewest = fewest.min(header.commit);
        (source.limit, source.page_size) = (fewest, header.page_size as usize);
    }
    let (page_size, pages) = (newest.page_size, newest.commit);
    let mut next = 1;
    while next <= pages {
        if next == lock_page(page_size) {
            next += 1;
            continue;
        }
        let Some((at, count)) = newest_run(&mut sources, next, pages)? else {
            let newest_first = sources.iter().zip(&headers).rev();
            let newest_first = newest_first.map(|(source, header)| (source.key.clone(), header.commit));
            return Err(none_holds(next, pages, newest_first));
        };
        let source = &sources[at];
        let content = source.pages.get(..count as usize * source.page_size).unwrap_or_default();
        file.write_at(u64::from(next - 1) * u64::from(page_size), content)?;
        next += count;
    }
    file.set_len(u64::from(pages) * u64::from(page_size))?;
    // Each file is proven at its end.
    for source in &mut sources {
        while !source.ended {
            source.pages.clear();
            source.page()?;
        }
    }
    Ok(())
}

/// The newest file that holds a page, and how many pages it gives from there on; `None` where none holds it.
fn newest_run(sources: &mut [Source], next: u32, pages: u32) -> Result<Option<(usize, u32)>, Reason> {
    let mut until = pages.saturating_add(1);
    let mut found = None;
    for (at, source) in sources.iter_mut().enumerate().rev() {
        let mut page = source.page()?;
        while let Some(first) = page.filter(|first| *first < next) {
            source.skip((next - first).min(source.run()));
            page = source.page()?;
        }
        match page {
            Some(first) if first == next && found.is_none() => {
                let limit = source.limit.saturating_add(1);
                found = Some((at, until.min(limit).min(next.saturating_add(source.run())) - next));
            }
            Some(first) if found.is_none() => until = until.min(first),
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::domain::litestream::Txid;

    /// What was written: where, and which bytes are first of how many.
    #[derive(Default)]
    struct Written(Mutex<(Vec<(u64, Bytes)>, u64)>);

    impl RestoreFile for Written {
        fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
            let (writes, end) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(offset >= *end && !content.is_empty(), "{offset} behind {end}");
            *end = offset + content.len() as u64;
            // Of long ones nothing is compared.
            writes.push((offset, Bytes::copy_from_slice(&content[..content.len().min(4 * PAGE)])));
            Ok(())
        }

        fn set_len(&self, bytes: u64) -> Result<(), Reason> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = bytes;
            Ok(())
        }

        fn sync(&self) -> Result<(), Reason> {
            Ok(())
        }
    }

    const PAGE: usize = 512;

    /// A file whose pages follow each other in runs, with the number of the first.
    fn source(page_size: u32, commit: u32, runs: impl IntoIterator<Item = (u32, Bytes)>) -> Source {
        let runs: Vec<_> = runs.into_iter().collect();
        let (sink, items) = channel(runs.len() + 2);
        let (wal_offset, wal_size, wal_salt1, wal_salt2) = (0, 0, 0, 0);
        let (min, max, timestamp) = (Txid(1), Txid(1), jiff::Timestamp::default());
        let header = LtxHeader { page_size, commit, min, max, timestamp, wal_offset, wal_size, wal_salt1, wal_salt2 };
        let pages = runs.into_iter().map(|(first, pages)| Item::Pages(first, pages));
        for item in std::iter::once(Item::Header(header)).chain(pages).chain([Item::End]) {
            assert!(sink.try_send(item).is_ok());
        }
        let key = format!("of {commit} pages");
        Source { key, items, pages: Bytes::new(), first: 0, page_size: 1, limit: 0, ended: false }
    }

    /// Files of small pages, oldest first: how many pages the database has then, and those that each holds, by the byte
    /// that they are full of.
    fn merged(files: &[(u32, &[(u32, u8)])]) -> Result<Vec<u8>, String> {
        let source = |(commit, pages): &(u32, &[(u32, u8)])| {
            source(PAGE as u32, *commit, pages.iter().map(|(page, fill)| (*page, Bytes::from(vec![*fill; PAGE]))))
        };
        let written = Written::default();
        merge(files.iter().map(source).collect(), &written).map_err(|reason| reason.message)?;
        let (writes, bytes) = written.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let content: Vec<u8> = writes.iter().flat_map(|(_, content)| content.to_vec()).collect();
        assert_eq!(content.len() as u64, bytes);
        Ok(content.chunks(PAGE).map(|page| page[0]).collect())
    }

    #[test]
    fn what_is_newest_of_each_page_is_written() {
        let all: &[(u32, u8)] = &[(1, 1), (2, 1), (3, 1), (4, 1)];
        assert_eq!(merged(&[(4, all)]), Ok(vec![1; 4]));
        assert_eq!(merged(&[(4, all), (4, &[(2, 2), (3, 2)]), (4, &[(3, 3)])]), Ok(vec![1, 2, 3, 1]));
        assert_eq!(merged(&[]), Ok(vec![]));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let all: &[(u32, u8)] = &[(1, 1), (2, 1), (3, 1), (4, 1)];
        assert_eq!(merged(&[(4, all), (2, &[(1, 2)])]), Ok(vec![2, 1]));
        assert_eq!(merged(&[(4, all), (2, &[(1, 2)]), (4, &[(3, 3), (4, 3)])]), Ok(vec![2, 1, 3, 3]));
        assert_eq!(merged(&[(2, &[(1, 1), (2, 1)]), (4, &[(3, 2), (4, 2)])]), Ok(vec![1, 1, 2, 2]));
        // The oldest file holds page 3, but the database ended before it since.
        let lost = merged(&[(4, all), (2, &[(1, 2)]), (4, &[(4, 3)])]);
        assert_eq!(
            lost,
            Err("read of 4 pages: it is incomplete: page 3 of 4 is in none of the planned files".to_owned())
        );
    }

    #[test]
    fn a_page_that_is_missing_is_named_with_the_file_that_should_hold_it() {
        let missing = |after, page, of| {
            Err(format!("read of {after} pages: it is incomplete: page {page} of {of} is in none of the planned files"))
        };
        assert_eq!(merged(&[(3, &[(1, 1), (3, 1)])]), missing(3, 2, 3));
        assert_eq!(merged(&[(3, &[(2, 1), (3, 1)])]), missing(3, 1, 3));
        assert_eq!(merged(&[(3, &[(1, 1)]), (3, &[(2, 2)])]), missing(3, 3, 3));
        // The database grew twice, and shrank in between.
        let first: &[(u32, u8)] = &[(1, 1), (2, 1), (3, 1)];
        assert_eq!(merged(&[(3, first), (5, &[(5, 2)]), (6, &[(6, 3)])]), missing(5, 4, 6));
        assert_eq!(merged(&[(3, first), (2, &[(1, 2)]), (5, &[(5, 3), (4, 3)]), (6, &[(6, 4)])]), missing(5, 3, 6));
    }

    #[test]
    fn pages_of_two_sizes_are_refused() {
        let files = vec![source(1024, 1, [(1, Bytes::from(vec![1; 1024]))]), source(PAGE as u32, 1, [])];
        let reason = merge(files, &Written::default()).unwrap_err();
        assert_eq!(reason.message, "read of 1 pages: pages of 1024 bytes, but of 512 in the other files");
    }

    #[test]
    fn a_file_that_ends_early_is_not_merged() {
        let mut file = source(PAGE as u32, 1, []);
        file.items.close();
        while file.items.try_recv().is_ok() {}
        assert_eq!(merge(vec![file], &Written::default()), Err(ended()));
    }

    #[test]
    fn the_page_at_one_gibibyte_is_left_out() {
        const LARGE: u32 = 1 << 16;
        let (lock, run) = (lock_page(LARGE), Bytes::from(vec![7; 64 * LARGE as usize]));
        let before = (0..(lock - 1) / 64).map(|number| (number * 64 + 1, run.clone()));
        let file = source(LARGE, lock + 2, before.chain([(lock + 1, run.slice(..2 * LARGE as usize))]));
        let written = Written::default();
        assert_eq!(merge(vec![file], &written), Ok(()));
        let (writes, bytes) = written.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(bytes, u64::from(lock + 2) * u64::from(LARGE));
        let offsets: Vec<u64> = writes.iter().rev().map(|(offset, _)| *offset).take(2).collect();
        let gibibyte = 1 << 30;
        assert_eq!(offsets, [gibibyte + u64::from(LARGE), gibibyte - 64 * u64::from(LARGE)]);
    }
}
