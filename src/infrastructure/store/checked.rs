//! The one wrapper around every backend: it counts and times, bounds time and concurrency, says where a call failed,
//! and refuses what a broken or hostile store answers before anybody believes it.

use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::keys::{KeyPage, KeyStore};
use crate::domain::assess::requests::RequestWindow;
use crate::domain::assessment::{Billed, StoreOperationReport, StoreReport};
use crate::domain::limits::{FOLDERS_MAX, KEY_BYTES_MAX, LIST_PAGE_KEYS_MAX, OBJECT_BYTES_MAX, READ_BYTES_MAX};
use crate::domain::printable::printable_character;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::usecase::ports::{Content, Cursor};

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

/// In the order of [`OPERATIONS`].
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Operation {
    List,
    Folders,
    Read,
    Write,
    Posture,
}

const OPERATIONS: [&str; 5] = ["list", "folders", "read", "write", "posture"];

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
    pub(super) fn new(store: &str) -> Self {
        let operations =
            OPERATIONS.iter().map(|operation| StoreOperationReport { operation, ..Default::default() }).collect();
        let report = StoreReport { store: store.to_owned(), operations, ..StoreReport::default() };
        Self { origin: clock::timer(), counts: Mutex::new((report, RequestWindow::default())) }
    }

    pub(super) fn report(&self) -> StoreReport {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (recent_requests, recent_failures) = counts.1.sum(clock::timer().duration_since(self.origin));
        StoreReport { recent_requests, recent_failures, ..counts.0.clone() }
    }

    /// Counts a request to a host, which is billed there whatever came of it.
    fn count(&self, operation: Operation, host: Option<&str>, duration: Duration, outcome: Result<u64, ReasonKind>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, window) = &mut *counts;
        window.count(clock::timer().duration_since(self.origin), outcome.is_err_and(|kind| operation.is_failure(kind)));
        let billed = bill(&mut report.billed, host);
        *match operation {
            Operation::Read => &mut billed.reads,
            Operation::List | Operation::Folders => &mut billed.lists,
            Operation::Write | Operation::Posture => &mut billed.others,
        } += 1;
        billed.bytes += outcome.unwrap_or(0);
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

/// The bill of a host.
fn bill<'a>(bills: &'a mut Vec<Billed>, host: Option<&str>) -> &'a mut Billed {
    let index = bills.iter().position(|bill| bill.host.as_deref() == host).unwrap_or_else(|| {
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

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        let answer = self.backend.folders(prefix);
        let checked = |names: &Vec<String>| check_folders(names).map(|()| Some(0));
        self.calls.call(Operation::Folders, &format!("/{prefix}"), answer, checked).await
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        if length == 0 {
            return Ok(Content::There(Bytes::new()));
        }
        let answer = async {
            if length > READ_BYTES_MAX {
                let cause = format!("{length} bytes are more than the {READ_BYTES_MAX} that one read may return");
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
        let refuse = |why: &str| Err(corrupt(format!("key {} {why}", printable(key))));
        if key.len() > KEY_BYTES_MAX {
            return refuse("is too long");
        }
        if !key.starts_with(prefix) {
            return refuse("is not below the prefix");
        }
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

fn check_folders(names: &[String]) -> Result<(), Reason> {
    if names.len() > FOLDERS_MAX {
        return Err(corrupt(format!("{} folders", names.len())));
    }
    for (index, name) in names.iter().enumerate() {
        let refuse = |why: &str| Err(corrupt(format!("folder {} {why}", printable(name))));
        if name.len() > KEY_BYTES_MAX || name.contains('/') {
            return refuse("cannot be a name");
        }
        if index > 0 && names[index - 1] >= *name {
            return refuse("is not in ascending order");
        }
    }
    Ok(())
}

pub(super) fn corrupt(cause: String) -> Reason {
    Reason::new(ReasonKind::Corrupt, cause)
}

/// A key as it may stand in a message: on one line and of bounded length, whatever a store made up.
pub(in crate::infrastructure) fn printable(key: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut text: String = key.chars().take(CHARACTERS_MAX).flat_map(printable_character).collect();
    if key.chars().nth(CHARACTERS_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_billed_apart_and_so_are_hosts() {
        let meter = Meter::new("s3");
        for operation in [Operation::Read, Operation::List, Operation::Folders, Operation::Write] {
            meter.count(operation, None, Duration::ZERO, Ok(7));
        }
        meter.count(Operation::Read, Some("minio:9000"), Duration::ZERO, Err(ReasonKind::Denied));
        let there = Billed { reads: 1, lists: 2, others: 1, bytes: 28, ..Billed::default() };
        let own = Billed { host: Some("minio:9000".to_owned()), reads: 1, ..Billed::default() };
        assert_eq!(meter.report().billed, [there, own]);
    }
}
