//! Reads objects of a replica to prove that they are what they should be: each once, as cheaply as its size allows.

mod ltx;
mod stream;
mod v3;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::litestream::{FormatError, Listed, ObjectName, Problem};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::verification::{FindingKind, Job, Outcome, Verified, Want};
use crate::usecase::ports::ReplicaStore;

/// Reads what was asked for, one object after the other, within `patience`. What could not be read is tried another
/// time, and with it all that comes after it.
pub async fn verify(store: Arc<dyn ReplicaStore>, jobs: Vec<Job>, patience: Duration) -> Vec<Verified> {
    let mut late = pin!(tokio::time::sleep(patience));
    let mut done: Vec<Verified> = Vec::new();
    for job in jobs {
        let mut reader = Reader { store: Arc::clone(&store), job: &job, requests: 0, bytes: 0 };
        let outcome = tokio::select! {
            biased;
            outcome = reader.twice() => outcome,
            () = &mut late => Outcome::Failed,
        };
        let (requests, bytes) = (reader.requests, reader.bytes);
        let failed = outcome == Outcome::Failed;
        done.push(Verified { job, outcome, requests, bytes });
        if failed {
            break;
        }
    }
    done
}

/// Judges an object whose bytes somebody else has read, `bytes` of them for this. One that is not good has to be read
/// again: `None`.
pub fn judge(object: Listed, key: String, content: &Bytes, bytes: u64) -> Option<Verified> {
    let job = Job { object, key, want: Want::Whole };
    let outcome = whole(&job, content).ok()?;
    Some(Verified { job, outcome, requests: 0, bytes })
}

fn whole(job: &Job, content: &Bytes) -> Result<Outcome, Stop> {
    let length = content.len() as u64;
    if length < job.object.size {
        let detail = format!("it holds {length} of the {} bytes that were listed", job.object.size);
        return Err(Stop::Bad(FindingKind::Truncated, detail));
    }
    match job.object.name {
        ObjectName::Ltx { name, .. } => ltx::whole(name, content),
        ObjectName::Segment(_, name) => v3::segment(name, content.as_ref()),
        ObjectName::Snapshot(..) => v3::snapshot(content.as_ref()),
    }
}

/// Why nothing more is read of an object.
enum Stop {
    Bad(FindingKind, String),
    Unread(Reason),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Unread(reason)
    }
}

impl From<FormatError> for Stop {
    fn from(error: FormatError) -> Self {
        let kind = match error.problem {
            Problem::Read(_) | Problem::TooLong(_) => return Self::Unread(error.into()),
            Problem::Truncated => FindingKind::Truncated,
            Problem::Name { .. } => FindingKind::Misnamed,
            _ => FindingKind::Corrupt,
        };
        Self::Bad(kind, error.to_string())
    }
}

/// Reads one object, and counts what that takes.
struct Reader<'a> {
    store: Arc<dyn ReplicaStore>,
    job: &'a Job,
    requests: u64,
    bytes: u64,
}

impl Reader<'_> {
    /// Reads an object again that looks bad: it is bad in the store, and not only on the way from it, if that comes to
    /// the same.
    async fn twice(&mut self) -> Outcome {
        match self.outcome().await {
            bad @ Outcome::Bad { .. } => match self.outcome().await {
                other @ Outcome::Bad { .. } if other != bad => Outcome::Failed,
                second => second,
            },
            first => first,
        }
    }

    async fn outcome(&mut self) -> Outcome {
        match self.read().await {
            Ok(outcome) => outcome,
            Err(Stop::Bad(kind, detail)) => Outcome::Bad { kind, detail },
            Err(Stop::Unread(reason)) if reason.kind == ReasonKind::NotFound => Outcome::Gone,
            Err(Stop::Unread(reason)) => {
                tracing::debug!(key = self.job.key, %reason, "object not verified");
                Outcome::Failed
            }
        }
    }

    async fn read(&mut self) -> Result<Outcome, Stop> {
        let Job { object, want, .. } = self.job;
        match (want, object.name) {
            (Want::Whole, _) => {
                // One byte more than was listed, to see a file that has grown.
                let content = self.range(0, object.size.saturating_add(1)).await?;
                whole(self.job, &content)
            }
            (Want::Structure, ObjectName::Ltx { name, .. }) => self.structure(name).await,
            (Want::Content, ObjectName::Ltx { name, .. }) => self.content(name).await,
            (Want::Structure | Want::Content, ObjectName::Segment(_, name)) => {
                self.stream(move |content| v3::segment(name, content)).await
            }
            (Want::Structure, ObjectName::Snapshot(..)) => self.snapshot_head().await,
            (Want::Content, ObjectName::Snapshot(..)) => self.stream(v3::snapshot).await,
        }
    }

    async fn range(&mut self, offset: u64, length: u64) -> Result<Bytes, Reason> {
        self.requests += 1;
        let content = self.store.read(self.job.object.name, offset, length).await?.required()?;
        self.bytes += content.len() as u64;
        Ok(content)
    }
}
