//! Reading objects patiently: what breaks off is asked for again from where it stopped, in smaller parts, for a bounded
//! number of times.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use crate::domain::limits::{RESTORE_ATTEMPTS_MAX, RESTORE_PIECE_BYTES, RESTORE_READ_BYTES_MIN};
use crate::domain::litestream::{Folder, Layout, LevelKeys, Listed, ObjectName};
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{Content, Cursor, Page, Progress, ReplicaStore};

/// The pause before the first repetition; each further one is twice as long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// One request's worth of an object.
pub(super) struct Piece {
    pub(super) name: ObjectName,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// It is the last of its object.
    pub(super) last: bool,
}

/// How many pieces an object has. An empty one has one, so that it is seen.
fn pieces_of(object: &Listed) -> u64 {
    object.size.div_ceil(RESTORE_PIECE_BYTES).max(1)
}

/// The pieces of an object, in order.
fn pieces(object: Listed) -> impl Iterator<Item = Piece> {
    let (Listed { name, size, .. }, count) = (object, pieces_of(&object));
    (0..count).map(move |index| {
        let offset = index * RESTORE_PIECE_BYTES;
        Piece { name, offset, length: (size - offset).min(RESTORE_PIECE_BYTES), last: index + 1 == count }
    })
}

/// What was read of a piece.
type Read = Result<(Bytes, Piece), Reason>;

/// Reads objects piece by piece, in order, and up to `downloads` of the pieces at once. One task does it all, so that it goes
/// on while what was read before is still being used, and little has to be woken for each piece. It ends when what is
/// returned second is dropped.
pub(super) fn ahead(reader: &Arc<Reader>, objects: Vec<Listed>, downloads: usize) -> (Pieces, Task) {
    // Whoever is waited for finds the next piece at once.
    let (sink, received) = channel(1);
    let left = objects.iter().map(pieces_of).sum();
    let reader = Arc::clone(reader);
    let task = tokio::spawn(async move {
        let mut waiting = objects.into_iter().flat_map(pieces);
        let (mut reads, mut done) = (FuturesOrdered::new(), VecDeque::<Read>::new());
        loop {
            while reads.len() + done.len() < downloads.max(1)
                && let Some(piece) = waiting.next()
            {
                let reader = &reader;
                reads.push_back(async move { Ok((reader.read(piece.name, piece.offset, piece.length).await?, piece)) });
            }
            tokio::select! {
                Some(read) = reads.next() => done.push_back(read),
                room = sink.reserve(), if !done.is_empty() => match (room, done.pop_front()) {
                    (Ok(room), Some(read)) => room.send(read),
                    _ => return,
                },
                else => return,
            }
        }
    });
    (Pieces { received, left }, Task(task))
}

/// Pieces in their order.
pub(super) struct Pieces {
    received: Receiver<Read>,
    left: u64,
}

impl Pieces {
    pub(super) async fn next(&mut self) -> Option<Read> {
        let read = self.received.recv().await;
        self.counted(read)
    }

    /// As [`next`](Self::next), where blocking is allowed.
    pub(super) fn blocking_next(&mut self) -> Option<Read> {
        let read = self.received.blocking_recv();
        self.counted(read)
    }

    /// Tells the end from a task that has stopped.
    fn counted(&mut self, read: Option<Read>) -> Option<Read> {
        if read.is_none() && self.left > 0 {
            return Some(Err(Reason::new(ReasonKind::Failed, "restore: the reading has ended")));
        }
        self.left = self.left.saturating_sub(1);
        read
    }
}

/// A task that ends when this is dropped.
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn stopped(error: tokio::task::JoinError) -> Reason {
    Reason::new(ReasonKind::Failed, format!("restore: {error}"))
}

/// Reads the objects of one restore and counts what that takes.
pub(super) struct Reader {
    store: Arc<dyn ReplicaStore>,
    /// For what people are told.
    keys: LevelKeys,
    progress: Arc<dyn Progress>,
    /// The size of one request: less after a failure, more again after a success.
    request_bytes: AtomicU64,
    requests: AtomicU64,
    received: AtomicU64,
}

impl Reader {
    pub(super) fn new(store: Arc<dyn ReplicaStore>, keys: LevelKeys, progress: Arc<dyn Progress>) -> Self {
        Self {
            store,
            keys,
            progress,
            request_bytes: AtomicU64::new(RESTORE_PIECE_BYTES),
            requests: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Exactly `length` bytes of an object from `offset` on.
    ///
    /// # Errors
    ///
    /// When the object cannot be read after all attempts, or ends before the range does.
    pub(super) async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Bytes, Reason> {
        let mut gathered = BytesMut::new();
        let mut failures = 0;
        loop {
            let at = gathered.len() as u64;
            let asked = (length - at).min(self.request_bytes.load(Ordering::Relaxed));
            self.requests.fetch_add(1, Ordering::Relaxed);
            match self.store.read(name, offset + at, asked).await.and_then(Content::required) {
                Ok(content) if content.is_empty() && asked > 0 => {
                    let (end, expected) = (offset + at, offset + length);
                    let cause = format!("truncated: it ends at byte {end}, but at least {expected} were listed");
                    return Err(Reason::new(ReasonKind::Corrupt, cause).of_object(&name.key(self.keys)));
                }
                Ok(content) => {
                    failures = 0;
                    self.grow();
                    self.received.fetch_add(content.len() as u64, Ordering::Relaxed);
                    self.progress.received(content.len() as u64);
                    if at == 0 && content.len() as u64 == length {
                        return Ok(content);
                    }
                    gathered.extend_from_slice(&content);
                    if gathered.len() as u64 == length {
                        return Ok(gathered.freeze());
                    }
                }
                Err(reason) => {
                    failures += 1;
                    if !passes(reason.kind) || failures >= RESTORE_ATTEMPTS_MAX {
                        return Err(after(reason, failures));
                    }
                    self.request_bytes.store((asked / 2).max(RESTORE_READ_BYTES_MIN), Ordering::Relaxed);
                    pause(failures).await;
                }
            }
        }
    }

    fn grow(&self) {
        let bytes = self.request_bytes.load(Ordering::Relaxed);
        if bytes < RESTORE_PIECE_BYTES {
            // Two reads at once may both do it, or one of them what the other undid: it is a rate, not a promise.
            self.request_bytes.store((bytes + bytes / 4).min(RESTORE_PIECE_BYTES), Ordering::Relaxed);
        }
    }
}

/// A replica of which each call is repeated, as often as one that fails may be over the next time.
pub(super) struct Patient<'a>(pub(super) &'a dyn ReplicaStore);

#[async_trait]
impl ReplicaStore for Patient<'_> {
    async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
        patiently(|| self.0.layouts()).await
    }

    async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason> {
        patiently(|| self.0.folders(layout)).await
    }

    async fn all(&self, layout: Layout) -> Result<Option<Page>, Reason> {
        patiently(|| self.0.all(layout)).await
    }

    async fn list(&self, folder: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason> {
        patiently(|| self.0.list(folder, from, cursor)).await
    }

    async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
        patiently(|| self.0.read(name, offset, length)).await
    }
}

/// Calls until it answers, or fails for good.
async fn patiently<T, F: Future<Output = Result<T, Reason>>>(mut call: impl FnMut() -> F) -> Result<T, Reason> {
    let mut failures = 0;
    loop {
        match call().await {
            Err(reason) if passes(reason.kind) && failures + 1 < RESTORE_ATTEMPTS_MAX => {
                failures += 1;
                pause(failures).await;
            }
            Err(reason) => return Err(after(reason, failures + 1)),
            answer => return answer,
        }
    }
}

/// Whether a failure of this kind may be gone at the next attempt.
fn passes(kind: ReasonKind) -> bool {
    use ReasonKind::{Failed, Throttled, Timeout, Unreachable};
    matches!(kind, Throttled | Timeout | Unreachable | Failed)
}

fn after(reason: Reason, attempts: u32) -> Reason {
    match attempts {
        0 | 1 => reason,
        _ => Reason { message: format!("{} (the last of {attempts} attempts)", reason.message), ..reason },
    }
}

/// Waits before repetition `failures`, for a time that differs from one reader to the next: those that failed together
/// should not come back together.
async fn pause(failures: u32) {
    let longest = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let part = RandomState::new().hash_one(failures) as u32;
    tokio::time::sleep(longest / 2 + (longest / 2).mul_f64(f64::from(part) / f64::from(u32::MAX))).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::domain::litestream::{Dated, LtxName, Txid};

    /// Ten megabytes that fail as told, call by call, and then no more.
    struct Flaky {
        failures: Mutex<VecDeque<ReasonKind>>,
        asked: Mutex<Vec<(u64, u64)>>,
        size: u64,
    }

    #[async_trait]
    impl ReplicaStore for Flaky {
        async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
            Ok(Vec::new())
        }

        async fn folders(&self, _: Layout) -> Result<Vec<Folder>, Reason> {
            Ok(Vec::new())
        }

        async fn list(&self, _: Folder, _: Option<ObjectName>, _: Option<&Cursor>) -> Result<Page, Reason> {
            Ok(Page::default())
        }

        async fn read(&self, _: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
            self.asked.lock().unwrap().push((offset, length));
            match self.failures.lock().unwrap().pop_front() {
                Some(kind) => Err(Reason::new(kind, "broken")),
                None => {
                    let length = length.min(self.size.saturating_sub(offset)) as usize;
                    Ok(Content::There(Bytes::from(vec![7; length])))
                }
            }
        }
    }

    const NAME: ObjectName = ObjectName::Ltx { level: 0, name: LtxName { min: Txid(1), max: Txid(1) } };

    fn reader(failures: &[ReasonKind], size: u64) -> (Reader, Arc<Flaky>, Arc<AtomicU64>) {
        let failures = Mutex::new(failures.iter().copied().collect());
        let (store, progress) = (Arc::new(Flaky { failures, asked: Mutex::default(), size }), Arc::default());
        let reader = Reader::new(Arc::clone(&store) as _, LevelKeys::Plain, Arc::clone(&progress) as _);
        (reader, store, progress)
    }

    const MIB: u64 = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_asked_for_again_in_smaller_parts() {
        use ReasonKind::{Throttled, Timeout, Unreachable};
        let (reader, store, progress) = reader(&[Timeout, Unreachable, Throttled], 10 * MIB);
        assert_eq!(reader.read(NAME, MIB, MIB).await.map(|content| content.len()), Ok(MIB as usize));
        let asked = store.asked.lock().unwrap().clone();
        let eighth = MIB / 8;
        assert_eq!(
            asked[..5],
            [(MIB, MIB), (MIB, MIB / 2), (MIB, MIB / 4), (MIB, eighth), (MIB + eighth, eighth * 5 / 4)]
        );
        assert_eq!(reader.requests(), asked.len() as u64);
        assert_eq!((reader.received(), progress.load(Ordering::Relaxed)), (MIB, MIB));
        for _ in 0..9 {
            reader.read(NAME, 0, MIB).await.unwrap();
        }
        assert_eq!(store.asked.lock().unwrap().last(), Some(&(0, MIB)), "it never asks for as much as before again");
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_in_the_end_and_at_once_where_waiting_does_not_help() {
        let (broken, store, _) = reader(&[ReasonKind::Unreachable; 100], MIB);
        let reason = broken.read(NAME, 0, 100).await.unwrap_err();
        assert_eq!(reason.message, "broken (the last of 10 attempts)");
        assert_eq!(store.asked.lock().unwrap().len(), 10);
        for kind in [ReasonKind::Denied, ReasonKind::Corrupt, ReasonKind::NotFound, ReasonKind::Misconfigured] {
            let (refused, store, _) = reader(&[kind], MIB);
            assert_eq!(refused.read(NAME, 0, 100).await, Err(Reason::new(kind, "broken")));
            assert_eq!(store.asked.lock().unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn an_object_that_ends_early_is_truncated_by_name() {
        let (short, _, _) = reader(&[], 1000);
        let reason = short.read(NAME, 0, 1500).await.unwrap_err();
        let cause = "truncated: it ends at byte 1000, but at least 1500 were listed";
        assert_eq!(reason.message, format!("read {}: {cause}", NAME.key(LevelKeys::Plain)));
        assert_eq!(reason.kind, ReasonKind::Corrupt);
        assert_eq!(short.read(NAME, 0, 0).await, Ok(Bytes::new()));
    }

    /// Objects of these sizes.
    fn listed(sizes: &[u64]) -> Vec<Listed> {
        let at = Dated::Uploaded(jiff::Timestamp::UNIX_EPOCH);
        sizes.iter().map(|size| Listed { name: NAME, size: *size, at }).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_come_in_order_and_few_are_read_ahead() {
        let (reader, store, _) = reader(&[], 10 * MIB);
        let (mut pieces, _task) = ahead(&Arc::new(reader), listed(&[5 * MIB / 2, 0, 4 * MIB]), 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(store.asked.lock().unwrap().len(), 3, "two, and one that waits to be taken");
        let mut seen = Vec::new();
        while let Some(read) = pieces.next().await {
            let (content, piece) = read.unwrap();
            assert_eq!(content.len() as u64, piece.length);
            seen.push((piece.offset, piece.length, piece.last));
        }
        let half = MIB / 2;
        let expected = [(0, MIB, false), (MIB, MIB, false), (2 * MIB, half, true), (0, 0, true)];
        assert_eq!(seen[..4], expected);
        assert_eq!(seen[4..], [0, 1, 2, 3].map(|number| (number * MIB, MIB, number == 3)));
    }

    #[tokio::test(start_paused = true)]
    async fn reading_that_was_stopped_is_not_an_end() {
        let (reader, ..) = reader(&[], 10 * MIB);
        let (mut pieces, task) = ahead(&Arc::new(reader), listed(&[8 * MIB]), 2);
        assert!(pieces.next().await.is_some_and(|read| read.is_ok()));
        drop(task);
        let mut rest = Vec::new();
        for _ in 0..8 {
            rest.push(pieces.next().await.unwrap().map(drop));
        }
        let stopped = Err(Reason::new(ReasonKind::Failed, "restore: the reading has ended"));
        assert_eq!(rest.last(), Some(&stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_repeated_as_well() {
        let mut left = 3;
        let answer = patiently(|| {
            left -= 1;
            let answer = if left == 0 { Ok("done") } else { Err(Reason::new(ReasonKind::Timeout, "slow")) };
            async move { answer }
        });
        assert_eq!(answer.await, Ok("done"));
    }
}
