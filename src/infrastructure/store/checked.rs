//! The one wrapper around every backend: it counts and times, bounds time and concurrency, says where a call failed,
//! and refuses what a broken or hostile store answers before anybody believes it.

use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::keys::{FolderPage, KeyPage, KeyStore};
use crate::domain::assess::requests::RequestWindow;
use crate::domain::assessment::{Billed, StoreOperationReport, StoreReport};
use crate::domain::limits::{
    BILLED_HOSTS_MAX, FOLDER_PAGES_MAX, FOLDERS_MAX, KEY_BYTES_MAX, LIST_PAGE_KEYS_MAX, OBJECT_BYTES_MAX,
    QUOTED_KEY_CHARS_MAX, READ_BYTES_MAX,
};
use crate::domain::price::bills_refusals;
use crate::domain::printable::printable_character;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::StoreKind;
use crate::domain::words::words;
use crate::infrastructure::clock;
use crate::usecase::ports::{Content, Cursor, Shelf};

/// The bounds that all stores share.
pub(super) struct Gate {
    timeout: Duration,
    permits: Semaphore,
}

impl Gate {
    pub(super) fn new(timeout: Duration, concurrency: usize) -> Self {
        Self { timeout, permits: Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)) }
    }
}

/// Counts of the requests to one kind of store.
pub(super) struct Meter {
    origin: Instant,
    counts: Mutex<(StoreReport, RequestWindow)>,
}

words! {
    /// What stores are asked, as it is counted.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(super) enum Operation {
        List = "list",
        Folders = "folders",
        Read = "read",
        Write = "write",
        Posture = "posture",
    }
}

impl Operation {
    /// The verb for the operation, as errors begin with it.
    fn verb(self) -> &'static str {
        match self {
            Self::List | Self::Folders => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Posture => "read settings of",
        }
    }

    /// An outcome that says something of the store: that an object is not there does not, and neither does a bucket
    /// whose settings may not be read.
    fn is_failure(self, kind: ReasonKind) -> bool {
        self != Self::Posture && kind != ReasonKind::NotFound
    }
}

impl Meter {
    pub(super) fn new(kind: StoreKind) -> Self {
        let operations =
            Operation::ALL.iter().map(|kind| StoreOperationReport { operation: kind.as_str(), ..Default::default() });
        let report = StoreReport { store: kind, operations: operations.collect(), ..StoreReport::default() };
        Self { origin: clock::timer(), counts: Mutex::new((report, RequestWindow::default())) }
    }

    pub(super) fn report(&self) -> StoreReport {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (recent_requests, recent_failures) = counts.1.sum(clock::timer().duration_since(self.origin));
        StoreReport { recent_requests, recent_failures, ..counts.0.clone() }
    }

    /// Counts a request to a host, and that it is billed there, where it is.
    fn count(&self, operation: Operation, host: Option<&str>, duration: Duration, outcome: Result<u64, ReasonKind>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, window) = &mut *counts;
        window.count(clock::timer().duration_since(self.origin), outcome.is_err_and(|kind| operation.is_failure(kind)));
        let is_billed = match outcome {
            Err(ReasonKind::NotFound | ReasonKind::Denied) => bills_refusals(report.store, host),
            // Nobody was asked.
            Err(ReasonKind::Unreachable) => false,
            _ => true,
        };
        if is_billed {
            let billed = bill(&mut report.billed, host);
            *match operation {
                Operation::Read => &mut billed.reads,
                Operation::List | Operation::Folders => &mut billed.lists,
                Operation::Write | Operation::Posture => &mut billed.others,
            } += 1;
            billed.bytes += outcome.unwrap_or(0);
        }
        let counts = &mut report.operations[operation as usize];
        counts.requests += 1;
        counts.duration.observe(duration);
        match outcome {
            Ok(bytes) => report.received_bytes += bytes,
            Err(kind) => match counts.failures.iter_mut().find(|(name, _)| *name == kind.as_str()) {
                Some((_, count)) => *count += 1,
                None => counts.failures.push((kind.as_str(), 1)),
            },
        }
    }
}

/// The bill of a host. Of too many, those that come last have the one of the kind's usual host together.
fn bill<'a>(bills: &'a mut Vec<Billed>, host: Option<&str>) -> &'a mut Billed {
    let find = |bills: &[Billed], host| bills.iter().position(|bill| bill.host.as_deref() == host);
    let host = host.filter(|host| bills.len() < BILLED_HOSTS_MAX || find(bills, Some(host)).is_some());
    let index = find(bills, host).unwrap_or_else(|| {
        bills.push(Billed { host: host.map(str::to_owned), ..Billed::default() });
        bills.len() - 1
    });
    &mut bills[index]
}

/// The wrapper of every call to a place: bounds, counts, and the place's name in errors.
pub(super) struct Calls {
    /// Without credentials.
    pub(super) place: String,
    /// Who sends the bill, where the kind of store has more than one server.
    pub(super) host: Option<String>,
    pub(super) meter: Arc<Meter>,
    pub(super) gate: Arc<Gate>,
}

impl Calls {
    /// Runs one call. `checked` returns the bytes that were received, `None` when what was asked for is not there, or why
    /// the answer is not believed.
    pub(super) async fn call<T>(
        &self,
        operation: Operation,
        key: &str,
        answer: impl Future<Output = Result<T, Reason>> + Send,
        checked: impl FnOnce(&T) -> Result<Option<u64>, Reason> + Send,
    ) -> Result<T, Reason> {
        // The semaphore is never closed; without a permit the call would only be unbounded.
        let permit = self.gate.permits.acquire().await;
        let started = clock::timer();
        let answer = tokio::time::timeout(self.gate.timeout, answer).await.unwrap_or_else(|_| {
            let seconds = self.gate.timeout.as_secs_f64();
            Err(Reason::new(ReasonKind::Timeout, format!("no answer within {seconds} s")))
        });
        drop(permit);
        let outcome = answer.and_then(|answer| checked(&answer).map(|bytes| (answer, bytes)));
        let counted = match &outcome {
            Ok((_, bytes)) => bytes.ok_or(ReasonKind::NotFound),
            Err(reason) => Err(reason.kind),
        };
        self.meter.count(operation, self.host.as_deref(), clock::timer().duration_since(started), counted);
        outcome.map(|(answer, _)| answer).map_err(|reason| self.explain(reason, operation, key))
    }

    /// Says where a call failed.
    fn explain(&self, reason: Reason, operation: Operation, key: &str) -> Reason {
        reason.context(format_args!("{} {}{}", operation.verb(), self.place, printable(key)))
    }
}

/// A backend behind the bounds, the counts and the distrust that all backends get.
pub(super) struct Checked {
    pub(super) backend: Box<dyn KeyStore>,
    pub(super) calls: Calls,
}

/// Where a listing of folders goes on, and how much of it there was.
struct FoldersMark {
    cursor: Cursor,
    pages: usize,
    names: usize,
}

/// Where a listing goes on, and what the keys of that page come after.
struct Mark {
    cursor: Cursor,
    last: String,
}

#[async_trait]
impl KeyStore for Checked {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let mark = cursor.map(|cursor| cursor.get::<Mark>().ok_or_else(|| corrupt("not its cursor".to_owned())));
        let mark = mark.transpose()?;
        let answer = self.backend.list(prefix, from, mark.map(|mark| &mark.cursor));
        let bound = match mark {
            Some(mark) => Bound::Excluded(mark.last.as_str()),
            None => from.map_or(Bound::Unbounded, Bound::Included),
        };
        let checked = |page: &KeyPage| check_page(page, prefix, bound).map(|()| Some(0));
        let mut page = self.calls.call(Operation::List, &format!("/{prefix}"), answer, checked).await?;
        let last = page.objects.last().map(|object| object.key.clone());
        page.next = page.next.zip(last).map(|(cursor, last)| Cursor::new(Mark { cursor, last }));
        Ok(page)
    }

    async fn all(&self, prefix: &str) -> Result<Option<KeyPage>, Reason> {
        let checked = |page: &Option<KeyPage>| {
            page.iter().try_for_each(|page| check_page(page, prefix, Bound::Unbounded)).map(|()| Some(0))
        };
        self.calls.call(Operation::List, &format!("/{prefix}"), self.backend.all(prefix), checked).await
    }

    async fn names(&self, prefixes: &[String]) -> Result<Option<Vec<String>>, Reason> {
        let checked = |names: &Option<Vec<String>>| {
            let below = |key: &str| prefixes.iter().find(|prefix| key.starts_with(prefix.as_str()));
            names.iter().flatten().try_for_each(|key| check_key(key, below(key).map_or("/", String::as_str)))?;
            Ok(Some(0))
        };
        self.calls.call(Operation::List, "", self.backend.names(prefixes), checked).await
    }

    async fn space_left(&self) -> Option<u64> {
        // It is no request, and may hang as one.
        tokio::time::timeout(self.calls.gate.timeout, self.backend.space_left()).await.ok().flatten()
    }

    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let mark = cursor.map(|cursor| cursor.get::<FoldersMark>().ok_or_else(|| corrupt("not its cursor".to_owned())));
        let mark = mark.transpose()?;
        let (pages, before) = mark.map_or((0, 0), |mark| (mark.pages, mark.names));
        let answer = self.backend.folders(prefix, mark.map(|mark| &mark.cursor));
        let checked = |page: &FolderPage| {
            let is_endless = page.next.is_some() && pages + 1 >= FOLDER_PAGES_MAX;
            if is_endless || before + page.names.len() > FOLDERS_MAX {
                return Err(corrupt("an endless listing of folders".to_owned()));
            }
            check_folders(&page.names).map(|()| Some(0))
        };
        let mut page = self.calls.call(Operation::Folders, &format!("/{prefix}"), answer, checked).await?;
        let (pages, names) = (pages + 1, before + page.names.len());
        page.next = page.next.map(|cursor| Cursor::new(FoldersMark { cursor, pages, names }));
        Ok(page)
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        if length == 0 {
            return Ok(Content::There(Bytes::new()));
        }
        let answer = async {
            if length > READ_BYTES_MAX {
                let cause = format!("{length} bytes, more than the {READ_BYTES_MAX} that one read may return");
                return Err(Reason::new(ReasonKind::Unsupported, cause));
            }
            self.backend.read(key, offset, length).await
        };
        let checked = |content: &Content| match content {
            Content::There(bytes) if bytes.len() as u64 > length => {
                Err(corrupt(format!("answered with more than the {length} bytes asked for")))
            }
            Content::There(bytes) => Ok(Some(bytes.len() as u64)),
            Content::Missing(_) => Ok(None),
        };
        let key = format!("/{key}");
        Ok(match self.calls.call(Operation::Read, &key, answer, checked).await? {
            Content::Missing(reason) => Content::Missing(self.calls.explain(reason, Operation::Read, &key)),
            there => there,
        })
    }
}

#[async_trait]
impl Shelf for Checked {
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        self.all_folders(prefix).await
    }
}

/// `bound` is where the page may begin.
fn check_page(page: &KeyPage, prefix: &str, bound: Bound<&str>) -> Result<(), Reason> {
    if page.objects.len() > LIST_PAGE_KEYS_MAX {
        return Err(corrupt(format!("a page of {} keys", page.objects.len())));
    }
    if page.next.is_some() && page.objects.is_empty() {
        return Err(corrupt("an empty page that promises more".to_owned()));
    }
    let mut bound = bound;
    for object in &page.objects {
        let key = object.key.as_str();
        check_key(key, prefix)?;
        let refuse = |why: &str| Err(refused(key, why));
        if !RangeBounds::<str>::contains(&(bound, Bound::Unbounded), key) {
            return refuse("is not in ascending order");
        }
        if object.size > OBJECT_BYTES_MAX {
            return refuse(&format!("cannot have {} bytes", object.size));
        }
        bound = Bound::Excluded(key);
    }
    Ok(())
}

fn check_key(key: &str, prefix: &str) -> Result<(), Reason> {
    if key.len() > KEY_BYTES_MAX {
        return Err(refused(key, "is too long"));
    }
    if !key.starts_with(prefix) {
        return Err(refused(key, "is not below the prefix"));
    }
    Ok(())
}

fn refused(key: &str, why: &str) -> Reason {
    corrupt(format!("key {} {why}", printable(key)))
}

fn check_folders(names: &[String]) -> Result<(), Reason> {
    match names.iter().find(|name| name.len() > KEY_BYTES_MAX || name.contains('/')) {
        Some(name) => Err(corrupt(format!("folder {} cannot be a name", printable(name)))),
        None => Ok(()),
    }
}

pub(super) fn corrupt(cause: String) -> Reason {
    Reason::new(ReasonKind::Corrupt, cause)
}

/// A key as it may stand in a message: on one line and of bounded length, whatever a store made up.
pub(in crate::infrastructure) fn printable(key: &str) -> String {
    let mut text: String = key.chars().take(QUOTED_KEY_CHARS_MAX).flat_map(printable_character).collect();
    if key.chars().nth(QUOTED_KEY_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_billed_apart_and_so_are_hosts() {
        let meter = Meter::new(StoreKind::S3);
        for operation in [Operation::Read, Operation::List, Operation::Folders, Operation::Write] {
            meter.count(operation, None, Duration::ZERO, Ok(7));
        }
        meter.count(Operation::Read, Some("minio:9000"), Duration::ZERO, Err(ReasonKind::Denied));
        let there = Billed { reads: 1, lists: 2, others: 1, bytes: 28, ..Billed::default() };
        let own = Billed { host: Some("minio:9000".to_owned()), reads: 1, ..Billed::default() };
        assert_eq!(meter.report().billed, [there, own]);
    }

    #[test]
    fn what_is_refused_is_billed_where_the_table_says_so() {
        use StoreKind::{Abs, Gs, Oss, S3};
        let billed = |kind, outcome| {
            let meter = Meter::new(kind);
            meter.count(Operation::Read, None, Duration::ZERO, outcome);
            meter.report().billed.iter().map(|bill| bill.reads).sum::<u64>()
        };
        assert_eq!([S3, Abs, Gs, Oss].map(|kind| billed(kind, Err(ReasonKind::NotFound))), [1, 1, 0, 0]);
        assert_eq!([S3, Gs].map(|kind| billed(kind, Err(ReasonKind::Unreachable))), [0, 0]);
        assert_eq!([S3, Gs].map(|kind| billed(kind, Ok(1))), [1, 1]);
    }

    /// Endpoints come and go with reloads.
    #[test]
    fn hosts_that_are_billed_are_bounded_and_no_request_is_lost() {
        let meter = Meter::new(StoreKind::S3);
        let requests = BILLED_HOSTS_MAX + 7;
        for number in (0..requests).chain([0]) {
            meter.count(Operation::List, Some(&format!("host{number}")), Duration::ZERO, Ok(0));
        }
        let billed = meter.report().billed;
        assert_eq!(billed.len(), BILLED_HOSTS_MAX + 1);
        assert_eq!(billed.iter().map(|bill| bill.lists).sum::<u64>(), requests as u64 + 1);
        assert_eq!((billed[0].lists, billed.last().map(|bill| (bill.host.clone(), bill.lists))), (2, Some((None, 7))));
    }

    /// Folders `0`, `1`, … in pages of two, each page with the last name of the page before once more.
    struct Pages(usize);

    #[async_trait]
    impl KeyStore for Pages {
        async fn list(&self, _: &str, _: Option<&str>, _: Option<&Cursor>) -> Result<KeyPage, Reason> {
            Ok(KeyPage::default())
        }

        async fn folders(&self, _: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
            let page = cursor.and_then(|cursor| cursor.get::<usize>()).copied().unwrap_or_default();
            let names = vec![(page + 1).to_string(), page.to_string()];
            Ok(FolderPage { names, next: (page + 1 < self.0).then(|| Cursor::new(page + 1)) })
        }

        async fn read(&self, _: &str, _: u64, _: u64) -> Result<Content, Reason> {
            Err(corrupt("nothing here".to_owned()))
        }
    }

    #[tokio::test]
    async fn each_page_of_folders_is_a_request_that_is_billed_and_bounded() {
        let listed = async |pages| {
            let meter = Arc::new(Meter::new(StoreKind::S3));
            let gate = Arc::new(Gate::new(Duration::from_secs(9), 1));
            let calls = Calls { place: "s3://b".to_owned(), host: None, meter: Arc::clone(&meter), gate };
            let store = Checked { backend: Box::new(Pages(pages)), calls };
            (Shelf::folders(&store, "").await, meter.report().billed[0].lists)
        };
        assert_eq!(listed(3).await, (Ok(["0", "1", "2", "3"].map(str::to_owned).to_vec()), 3));
        let (endless, requests) = listed(usize::MAX).await;
        assert!(endless.is_err_and(|reason| reason.message.contains("an endless listing")));
        assert_eq!(requests, FOLDER_PAGES_MAX as u64);
    }
}
