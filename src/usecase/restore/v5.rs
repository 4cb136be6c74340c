//! Restoring a v0.5 replica. Files are applied newest first, so that each page is written once, by the newest file that
//! holds it. Pieces arrive in order, several at a time; whole frames of a piece are decoded beside each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{JoinHandle, spawn_blocking};

use super::pages::WrittenPages;
use super::reading::{Reader, ahead, stopped};
use super::request::RestoreOptions;
use crate::domain::litestream::{Chunk, LtxCutter, LtxEnd, LtxHeader, ObjectName, PageBuffer, Sum};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestoreBase, RestorePlan, Restored, RestoredObject};
use crate::domain::sqlite::{DatabaseHeader, lock_page};
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

pub(super) async fn restore_levels(
    store: Arc<dyn ReplicaStore>,
    plan: Arc<RestorePlan>,
    file: Arc<dyn RestoreFile>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Result<Restored, Reason> {
    let reader = Arc::new(Reader::new(store, plan.layout.keys(), progress));
    let mut engine = Engine::new(Arc::clone(&file), options.threads, plan.base);
    let applied = engine.apply(&plan, &reader, options.downloads).await;
    // Nothing may write to the file when this has returned.
    engine.jobs.settle().await;
    applied?;
    let image = engine.image(&plan)?;
    let mut objects = engine.objects;
    objects.reverse();
    let bytes = u64::from(image.pages) * u64::from(image.page_size);
    spawn_blocking(move || file.set_len(bytes)).await.map_err(stopped)??;
    Ok(Restored {
        bytes,
        page_size: image.page_size,
        pages: image.pages,
        txid: plan.txid,
        position: engine.newest.and_then(|header| header.wal_end()),
        trailing_bytes: 0,
        objects,
        downloaded_bytes: reader.received(),
        requests: reader.requests(),
    })
}

/// The state of one restore.
struct Engine {
    base: Option<RestoreBase>,
    written: WrittenPages,
    newest: Option<LtxHeader>,
    /// The files that were begun, newest first, and the pages that the database had after each.
    begun: Vec<(ObjectName, u32)>,
    /// The fewest pages that the database had after any file that was begun: what older files, and the base, hold
    /// behind it was cut off since.
    fewest: u32,
    jobs: Jobs,
    objects: Vec<RestoredObject>,
}

/// The shape of the restored database.
struct Image {
    page_size: u32,
    pages: u32,
}

impl Engine {
    fn new(file: Arc<dyn RestoreFile>, threads: usize, base: Option<RestoreBase>) -> Self {
        Self {
            base,
            written: WrittenPages::default(),
            newest: None,
            begun: Vec::new(),
            fewest: u32::MAX,
            jobs: Jobs {
                file,
                waiting: VecDeque::new(),
                decoding: 0,
                threads: threads.max(1),
                buffers: Arc::default(),
                sum: Sum::default(),
            },
            objects: Vec::new(),
        }
    }

    /// Reads all planned objects, newest first.
    async fn apply(&mut self, plan: &RestorePlan, reader: &Arc<Reader>, downloads: usize) -> Result<(), Reason> {
        let newest_first = plan.objects.iter().rev().copied().collect();
        let (mut pieces, _task) = ahead(reader, newest_first, downloads);
        let mut cutter = LtxCutter::default();
        loop {
            // A piece that nobody can decode yet is better waited for elsewhere than kept here.
            let done = self.jobs.room().await?;
            self.objects.extend(done);
            let Some(read) = pieces.next().await else { break };
            let (content, piece) = read?;
            let key = piece.name.key(plan.layout.keys());
            let chunk = cutter.push(content).map_err(|error| Reason::from(error).of_object(&key));
            let mut chunk = match chunk {
                Ok(chunk) => chunk,
                // What is before it may be wrong too, and then it is what is to be named.
                Err(reason) => return self.finish_jobs().await.and(Err(reason)),
            };
            if piece.offset == 0 {
                let header = cutter.header().copied();
                // Shorter than a header: the cutter says so at its end.
                header.map_or(Ok(()), |header| self.begin(&header, piece.name, &key))?;
            }
            self.choose(&mut chunk);
            self.jobs.decode(chunk, &key);
            if piece.last {
                let end = std::mem::take(&mut cutter).finish();
                match end {
                    Ok(end) => self.jobs.end(end, key),
                    Err(error) => {
                        let reason = Reason::from(error).of_object(&key);
                        return self.finish_jobs().await.and(Err(reason));
                    }
                }
            }
        }
        self.finish_jobs().await
    }

    async fn finish_jobs(&mut self) -> Result<(), Reason> {
        let done = self.jobs.finish().await?;
        self.objects.extend(done);
        Ok(())
    }

    /// Compares a file's header with its name and with the files before.
    fn begin(&mut self, header: &LtxHeader, name: ObjectName, key: &str) -> Result<(), Reason> {
        let corrupt = |cause: String| Reason::new(ReasonKind::Corrupt, cause).of_object(key);
        if let Some(name) = name.ltx() {
            header.check_name(name).map_err(|error| Reason::from(error).of_object(key))?;
        }
        let known = self.newest.map(|newest| newest.page_size).or_else(|| self.base.map(|base| base.page_size));
        if let Some(known) = known.filter(|known| *known != header.page_size) {
            return Err(corrupt(other_page_size(header.page_size, known)));
        }
        self.newest.get_or_insert(*header);
        self.begun.push((name, header.commit));
        self.fewest = self.fewest.min(header.commit);
        Ok(())
    }

    fn choose(&mut self, chunk: &mut Chunk) {
        let (written, fewest) = (&mut self.written, self.fewest);
        chunk.choose(|page| page <= fewest && written.insert(page));
    }

    /// When pages are missing from what was written.
    fn image(&self, plan: &RestorePlan) -> Result<Image, Reason> {
        let (page_size, pages) = match (self.newest, self.base) {
            (Some(header), _) => (header.page_size, header.commit),
            (None, Some(base)) => (base.page_size, base.commit),
            (None, None) => return Err(Reason::new(ReasonKind::NotFound, "restore: nothing is planned")),
        };
        let kept = self.base.map_or(0, |base| base.commit.min(self.fewest));
        if let Some(page) = self.written.missing(kept, pages, lock_page(page_size)) {
            let newest_first = self.begun.iter().map(|(name, commit)| (name.key(plan.layout.keys()), *commit));
            return Err(none_holds(page, pages, newest_first));
        }
        Ok(Image { page_size, pages })
    }
}

/// Chunks that are being decoded and written, in the order of the files.
struct Jobs {
    file: Arc<dyn RestoreFile>,
    waiting: VecDeque<Job>,
    /// Chunks among them.
    decoding: usize,
    threads: usize,
    buffers: Arc<Mutex<Vec<PageBuffer>>>,
    /// Of the chunks of the oldest file in work that are done.
    sum: Sum,
}

enum Job {
    Chunk(JoinHandle<Result<Sum, Reason>>),
    End(LtxEnd, String),
}

impl Jobs {
    /// Waits for the oldest chunk where all threads are busy. Gives the objects that are proven by then.
    async fn room(&mut self) -> Result<Vec<RestoredObject>, Reason> {
        let mut done = Vec::new();
        while self.decoding >= self.threads {
            done.extend(self.next().await?);
        }
        Ok(done)
    }

    /// Starts a chunk.
    fn decode(&mut self, chunk: Chunk, key: &str) {
        if chunk.is_empty() {
            return;
        }
        let (file, buffers, key) = (Arc::clone(&self.file), Arc::clone(&self.buffers), key.to_owned());
        self.decoding += 1;
        self.waiting.push_back(Job::Chunk(spawn_blocking(move || {
            let lock = || buffers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut buffer = lock().pop().unwrap_or_default();
            let page_size = u64::from(chunk.page_size());
            let mut written = Ok(());
            let sum = chunk.decode(&mut buffer, |page, content| {
                if page == 1
                    && let Err(cause) = check_first_page(content, chunk.page_size())
                {
                    return Err(Reason::new(ReasonKind::Corrupt, cause));
                }
                let offset = u64::from(page.saturating_sub(1)) * page_size;
                written = file.write_at(offset, content);
                written.clone()
            });
            lock().push(buffer);
            // What is wrong with the file that is written has nothing to do with the object.
            written.and_then(|()| sum.map_err(|reason| reason.of_object(&key)))
        })));
    }

    /// Says that the file of the last chunk is complete.
    fn end(&mut self, end: LtxEnd, key: String) {
        self.waiting.push_back(Job::End(end, key));
    }

    /// Waits for the oldest.
    async fn next(&mut self) -> Result<Option<RestoredObject>, Reason> {
        match self.waiting.pop_front() {
            Some(Job::Chunk(chunk)) => {
                self.decoding -= 1;
                self.sum = self.sum.then(chunk.await.map_err(stopped)??);
                Ok(None)
            }
            Some(Job::End(end, key)) => {
                let summary = end.prove(std::mem::take(&mut self.sum));
                let summary = summary.map_err(|error| Reason::from(error).of_object(&key))?;
                let checksum = format!("{:016x}", summary.file_checksum);
                Ok(Some(RestoredObject { key, bytes: summary.bytes, checksum }))
            }
            None => Ok(None),
        }
    }

    async fn finish(&mut self) -> Result<Vec<RestoredObject>, Reason> {
        let mut done = Vec::new();
        while !self.waiting.is_empty() {
            done.extend(self.next().await?);
        }
        Ok(done)
    }

    /// Waits for what is still being written, whatever comes of it.
    async fn settle(&mut self) {
        for job in std::mem::take(&mut self.waiting) {
            if let Job::Chunk(chunk) = job {
                // The restore has failed already, for a reason that came before.
                let _ = chunk.await;
            }
        }
    }
}

/// A page is missing: in the file with which the database last grew beyond it, of these with the pages that there were
/// after each.
pub(super) fn none_holds(page: u32, pages: u32, newest_first: impl Iterator<Item = (String, u32)>) -> Reason {
    let cause = format!("it is incomplete: page {page} of {pages} is in none of the planned files");
    let reason = Reason::new(ReasonKind::Corrupt, cause);
    match newest_first.take_while(|(_, commit)| *commit >= page).last() {
        Some((key, _)) => reason.of_object(&key),
        None => reason,
    }
}

pub(super) fn other_page_size(found: u32, known: u32) -> String {
    format!("pages of {found} bytes, but of {known} in the other files")
}

/// The first page has to be that of a database with pages of this size.
pub(super) fn check_first_page(content: &[u8], page_size: u32) -> Result<(), String> {
    let header =
        DatabaseHeader::parse(content).map_err(|error| format!("page 1 does not begin a database: {error}"))?;
    if header.page_size != page_size {
        return Err(format!("page 1 belongs to a database with pages of {} bytes, not {page_size}", header.page_size));
    }
    Ok(())
}
