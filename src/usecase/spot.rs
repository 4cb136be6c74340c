//! One round of spot checks: a few pages of the live database against the replica's newest version of them.
//!
//! The live pages come first: they cost nothing, and where they cannot be known at the replica's position no request is
//! made. Then the objects are asked, the newest first, which of them holds each page, and its frame alone is read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::litestream::{FrameIndex, ObjectName, PageEntry, decode_page};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::spot::{SpotFinding, SpotOutcome};
use crate::domain::target::DatabaseFiles;
use crate::domain::verification::{FindingKind, Outcome, SpotFile, SpotPlan, Verified};
use crate::usecase::ports::{Content, LivePages, LiveTarget, PageReader, ReplicaStore};
use crate::usecase::verify::verify;

/// The input of one round.
pub struct SpotJob {
    pub store: Arc<dyn ReplicaStore>,
    pub reader: Arc<dyn PageReader>,
    pub files: Arc<DatabaseFiles>,
    pub plan: SpotPlan,
    /// Where the replica is in the WAL of the database.
    pub target: LiveTarget,
    /// The pages to compare.
    pub numbers: Vec<u32>,
}

/// The outcome of a round.
#[derive(Debug, Default)]
pub struct SpotRound {
    pub outcome: SpotOutcome,
    /// Objects whose index had to be read, or whose page does not decode.
    pub verified: Vec<Verified>,
    /// Objects that hold another page than the live database.
    pub doubted: Vec<ObjectName>,
    /// The cost of reading single pages.
    pub requests: u64,
    pub bytes: u64,
}

/// A page, and where its newest version is.
struct Located<'a> {
    page: u32,
    live: &'a Bytes,
    file: &'a SpotFile,
    entry: PageEntry,
}

/// Compares, within `patience`. What was not compared until then is said.
pub async fn spot(job: SpotJob, patience: Duration) -> SpotRound {
    let mut round = SpotRound::default();
    round.outcome.txid = job.plan.tip.max;
    let done = tokio::time::timeout(patience, round.compare(&job, patience)).await;
    round.outcome.why = match done {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some(format!("not finished within {} s", patience.as_secs())),
    };
    round
}

impl SpotRound {
    async fn compare(&mut self, job: &SpotJob, patience: Duration) -> Result<(), String> {
        let live = live(job).await.map_err(|reason| reason.message)?;
        if live.page_size != job.plan.tip.page_size {
            return Err(format!("its pages have {} bytes, but {} here", job.plan.tip.page_size, live.page_size));
        }
        // A database that is closed does not say how many pages the replica's state has.
        if live.positioned {
            (self.outcome.pages, self.outcome.positioned) = (job.target.pages, true);
        }
        let mut missing = None;
        for place in self.locate(job, &live, patience).await? {
            match place {
                Ok(place) => missing = self.compare_page(job, &place).await?.or(missing),
                Err(why) => missing = Some(why),
            }
        }
        let differs = |(_, finding): &(u32, SpotFinding)| *finding != SpotFinding::Equal;
        match missing {
            Some(why) => Err(why),
            None if !self.outcome.positioned && self.outcome.findings.iter().any(differs) => {
                Err("the live database has no WAL that shows whether it changed after the replica's newest state"
                    .to_owned())
            }
            None => Ok(()),
        }
    }

    /// Where the newest version of each page is, or why that is not known of one.
    async fn locate<'a>(
        &mut self,
        job: &'a SpotJob,
        live: &'a LivePages,
        patience: Duration,
    ) -> Result<Vec<Result<Located<'a>, String>>, String> {
        let mut open: BTreeSet<(u32, usize)> = job.numbers.iter().copied().zip(0..live.pages.len()).collect();
        let mut located = Vec::with_capacity(open.len());
        for file in &job.plan.files {
            if open.is_empty() {
                break;
            }
            let frames = match &file.frames {
                Some(frames) => Arc::clone(frames),
                None => match self.read_index(job, file, patience).await? {
                    Some(frames) => frames,
                    // What newer objects do not hold may be here, and anywhere.
                    None => {
                        let key = &file.job.key;
                        located.push(Err(format!("the page index of {key} is too long to read on its own")));
                        return Ok(located);
                    }
                },
            };
            open.retain(|(page, index)| {
                let (Some(entry), Some(live)) = (frames.find(*page), live.pages.get(*index)) else { return true };
                located.push(Ok(Located { page: *page, live, file, entry }));
                false
            });
        }
        if let Some((page, _)) = open.first() {
            located.push(Err(format!("page {page} is in no object that a restore reads")));
        }
        Ok(located)
    }

    /// The index of an object; `None` when it is too long.
    async fn read_index(
        &mut self,
        job: &SpotJob,
        file: &SpotFile,
        patience: Duration,
    ) -> Result<Option<Arc<FrameIndex>>, String> {
        let key = &file.job.key;
        let Some(verified) = verify(Arc::clone(&job.store), vec![file.job.clone()], patience).await.pop() else {
            return Err(format!("{key} was not read"));
        };
        let index = match &verified.outcome {
            Outcome::Good { frames, .. } => Ok(frames.clone()),
            Outcome::TooLong => Ok(None),
            Outcome::Bad { kind, .. } => Err(format!("{key} is {}", kind.spoken())),
            Outcome::Gone => Err(format!("{key} was compacted before it could be read")),
            Outcome::Failed => Err(format!("{key} could not be read")),
        };
        self.verified.push(verified);
        index
    }

    /// Compares one page. What is said is why that one was not compared; the error, why no other can be.
    async fn compare_page(&mut self, job: &SpotJob, place: &Located<'_>) -> Result<Option<String>, String> {
        let Located { page, live, file, entry } = place;
        let key = &file.job.key;
        self.requests += 1;
        let frame = match job.store.read(file.job.object.name, entry.offset, entry.length).await {
            Ok(Content::There(frame)) => frame,
            Ok(Content::Missing(_)) => {
                return Ok(Some(format!("{key} was compacted before it could be read")));
            }
            Err(reason) => return Err(reason.message),
        };
        self.bytes += frame.len() as u64;
        match decode_page(&frame, *page, job.plan.tip.page_size) {
            Ok(content) if content == live.as_ref() => self.outcome.findings.push((*page, SpotFinding::Equal)),
            Ok(_) => {
                self.doubted.push(file.job.object.name);
                self.outcome.findings.push((*page, SpotFinding::Different { key: key.clone() }));
            }
            Err(error) => {
                let detail = format!("page {page}, whose frame begins at byte {}: {}", entry.offset, error.problem);
                let outcome = Outcome::Bad { kind: FindingKind::Corrupt, detail };
                self.verified.push(Verified { job: file.job.clone(), outcome, requests: 0, bytes: 0 });
                return Ok(Some(format!("{key} is {}", FindingKind::Corrupt.spoken())));
            }
        }
        Ok(None)
    }
}

async fn live(job: &SpotJob) -> Result<LivePages, Reason> {
    let (reader, files, numbers, target) =
        (Arc::clone(&job.reader), job.files.clone(), job.numbers.clone(), job.target);
    let read = tokio::task::spawn_blocking(move || reader.pages(&files, &numbers, &target));
    read.await.unwrap_or_else(|error| Err(Reason::new(ReasonKind::Failed, error.to_string())))
}
