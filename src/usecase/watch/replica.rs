//! The agent's state of one replica: the positions not yet proven there, and the last look's evidence.

mod report;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::assess::churn::Churn;
use crate::domain::assess::growth::{Growth, Written};
use crate::domain::assess::lineage::Lineage;
use crate::domain::assess::positions::Positions;
use crate::domain::assess::proof::{Chain, Evidence, Unread, arrived, settle};
use crate::domain::assessment::CoverageReport;
use crate::domain::beacon::{BeaconClaim, BeaconReport};
use crate::domain::limits::FIRST_LOOK_PATIENCE;
use crate::domain::litestream::{Folder, Layout, Txid};
use crate::domain::moment::Moment;
use crate::domain::observation::DatabaseLook;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{LitestreamVersion, ReplicaTarget};
use crate::domain::verification::{Ledger, VerificationReport, Verified};
use crate::usecase::ports::{FoundBeacon, Pace, ReplicaStore, Stores};
use crate::usecase::replica_probe::{Finding, ReplicaProbe};

use super::drilling::Drilling;
use super::objects::{Look, SeenObjects, ledger};
use super::resting::Rest;
use super::schedule::{ReplicaKey, Standing};
use super::spotting::Spotting;

/// The state of a watched replica that survives a restart, so that the age of the proof does.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watched {
    pub(super) since: Timestamp,
    pub(super) verified_at: Option<Timestamp>,
    /// Since when the lag is unknown, and not by design.
    #[serde(default)]
    pub(super) unknown_since: Option<Timestamp>,
}

pub(super) struct WatchedReplica {
    pub(super) target: Arc<ReplicaTarget>,
    pub(super) key: ReplicaKey,
    pub(super) store: Result<Arc<dyn ReplicaStore>, Box<Reason>>,
    /// `None` while a look is in flight, which owns it.
    pub(super) probe: Option<ReplicaProbe>,
    pub(super) positions: Positions,
    /// The database was replaced: its WAL says nothing of its file, so that nothing is proven until that ends.
    replaced: bool,
    /// The database could not be read the last time.
    unread: bool,
    finding: Option<(Finding, Evidence)>,
    /// Since when it is watched and when it was last verified, perhaps by an earlier run.
    pub(super) watched: Watched,
    failure: Option<Box<Reason>>,
    failures: u32,
    pub(super) last_look: Option<Moment>,
    pub(super) drilling: Drilling,
    /// The ledger of its objects.
    pub(super) ledger: Ledger,
    verification: Option<Arc<VerificationReport>>,
    /// The most that was seen to wait while the same commit is the oldest that does: a WAL that was reset since says less.
    waiting: Option<Box<Waiting>>,
    /// The bytes written to its database until the last look.
    written: Option<Written>,
    growth: Growth,
    churn: Churn,
    /// When it was last looked at with success.
    found_at: Option<Moment>,
    lineage: Lineage,
    /// The beacon of the host that writes the database, if that is another one.
    beacon: Option<Arc<BeaconReport>>,
    /// Objects are being read, or wait to be.
    pub(super) verifying: bool,
    pub(super) spotting: Spotting,
    /// It is looked at less often than others, because nothing was committed since it was proven.
    pub(super) rest: Option<Box<Rest>>,
}

/// Committed bytes that are not proven to be in the bucket.
struct Waiting {
    /// When the oldest commit was made that is not.
    since: Timestamp,
    bytes: u64,
}

impl WatchedReplica {
    pub(super) fn new(
        target: Arc<ReplicaTarget>,
        restorer: Option<LitestreamVersion>,
        stores: &dyn Stores,
        pace: &Pace,
        key: ReplicaKey,
    ) -> Self {
        let ledger = ledger(&target, &pace.verify, restorer);
        let verification = ledger.report().map(Arc::new);
        Self {
            probe: Some(ReplicaProbe::of(&target)),
            store: stores.open(&target.location).map_err(Box::new),
            target,
            key,
            positions: Positions::default(),
            replaced: false,
            unread: false,
            finding: None,
            watched: Watched::default(),
            failure: None,
            failures: 0,
            last_look: None,
            drilling: Drilling::default(),
            ledger,
            verification,
            waiting: None,
            written: None,
            growth: Growth::default(),
            churn: Churn::default(),
            found_at: None,
            lineage: Lineage::default(),
            beacon: None,
            verifying: false,
            spotting: Spotting::default(),
            rest: None,
        }
    }

    /// The probe for a look that begins now, which may read the newest object whole; `None` while one is in flight.
    pub(super) fn take_probe(&mut self, now: Moment) -> Option<ReplicaProbe> {
        let mut probe = self.probe.take()?;
        // A newest object that is damaged is asked for again with each look: its header is enough.
        let failed = self.failure.as_ref().is_some_and(|reason| reason.kind == ReasonKind::Corrupt);
        let damaged = failed || self.finding.as_ref().is_some_and(|(finding, _)| finding.damaged.is_some());
        probe.read_whole(if damaged { 0 } else { self.ledger.allowance(now.wall()) });
        probe.set_damaged(self.verification.as_deref().map(VerificationReport::damaged).unwrap_or_default());
        if self.ledger.is_suspicious() {
            probe.relist();
        }
        Some(probe)
    }

    /// Takes in what a look saw of single objects.
    fn take_objects(&mut self, seen: SeenObjects, now: Moment) {
        let SeenObjects { listed: Some(listed), judged } = seen else { return };
        self.ledger.take(&listed, now.wall());
        if let Some((Folder::Level(0), pages)) = judged.as_ref().and_then(Verified::pages) {
            self.churn.observe(pages);
        }
        self.take_verified(judged.into_iter().collect(), now);
    }

    /// Takes in what reading objects came to.
    pub(super) fn take_verified(&mut self, results: Vec<Verified>, now: Moment) {
        if !results.is_empty() {
            self.ledger.conclude(results, now.wall());
        }
        let report = self.ledger.report();
        if self.verification.as_deref() != report.as_ref() {
            self.verification = report.map(Arc::new);
        }
    }

    /// Takes over what was saved of an earlier run.
    pub(super) fn restore_ledger(&mut self, saved: &str) {
        self.ledger.restore(saved);
        self.verification = self.ledger.report().map(Arc::new);
    }

    /// Records a look at the database; `true` when it holds something that the one before did not.
    pub(super) fn record(&mut self, look: &DatabaseLook) -> bool {
        self.unread = false;
        self.replaced = look.replacement.replaced() == Some(true);
        if self.replaced {
            return false;
        }
        let before = self.positions.newest().map(|sample| sample.first_seen);
        self.positions.record(look);
        self.written = Some(Written::of(look));
        self.positions.newest().map(|sample| sample.first_seen) != before
    }

    /// The database could not be looked at.
    pub(super) fn not_recorded(&mut self) {
        self.unread = true;
    }

    /// Takes in a look at the replica.
    pub(super) fn conclude(&mut self, look: Look, now: Moment) {
        self.probe = Some(look.probe);
        self.last_look = Some(now);
        self.take_result(look.result, now);
        self.take_objects(look.objects, now);
        self.take_beacon(look.beacon, now);
    }

    fn take_result(&mut self, result: Result<(Finding, Evidence), Reason>, now: Moment) {
        match result {
            Ok((mut finding, evidence)) => {
                if let Some((before, _)) = self.finding.as_ref().filter(|(known, _)| known.coverage == finding.coverage)
                {
                    // The reports that have it share it.
                    finding.coverage = Arc::clone(&before.coverage);
                }
                if !self.replaced {
                    settle(&mut self.positions, &evidence);
                }
                self.watched.verified_at = Some(evidence.verified_at.wall());
                self.found_at = Some(now);
                if let Some((received, written)) = finding.received_bytes.zip(self.written) {
                    self.growth.record(evidence.verified_at, received, written);
                }
                if let Some(received) = finding.received_objects {
                    self.churn.count(evidence.verified_at, received);
                }
                self.finding = Some((finding, evidence));
                self.failure = None;
                self.failures = 0;
            }
            Err(reason) => {
                self.failure = Some(Box::new(reason));
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    pub(super) fn looked_at(&self) -> bool {
        self.finding.is_some() || self.failure.is_some()
    }

    /// Its first look has not ended so far, and says later what it saw.
    pub(super) fn late(&mut self) {
        let why = match self.probe {
            None => "it is still running",
            Some(_) => "it waits for others at the same place",
        };
        let seconds = FIRST_LOOK_PATIENCE.as_secs();
        let message = format!("look at replica: the first look has not finished within {seconds} s, {why}");
        self.failure = Some(Box::new(Reason::new(ReasonKind::Timeout, message)));
    }

    /// The coverage by the last successful look.
    pub(super) fn coverage(&self) -> Option<&CoverageReport> {
        self.finding.as_ref().map(|(finding, _)| &*finding.coverage)
    }

    pub(super) fn layout(&self) -> Option<Layout> {
        self.finding.as_ref()?.0.layout
    }

    /// The newest TXID that the last successful look saw.
    pub(super) fn newest_txid(&self) -> Option<u64> {
        self.finding.as_ref()?.0.txid
    }

    /// Why it was not read. A damaged object is no silence: what is read of it can be restored.
    pub(super) fn unreadable(&self) -> Option<&Reason> {
        self.failure.as_deref().filter(|reason| reason.kind != ReasonKind::Corrupt)
    }

    /// A damaged object is no silence: the replica was read, and what waits is seen not to be there.
    fn unread(&self) -> Unread {
        Unread { database: self.unread, replica: self.unreadable().is_some() }
    }

    pub(super) fn standing(&self) -> Standing {
        let claim = self.beacon.as_ref().and_then(|beacon| beacon.claim.as_ref());
        let beacon = claim.and_then(|claim| Duration::try_from_secs_f64(claim.interval_seconds).ok());
        Standing { pending: self.pending(), failures: self.failures, beacon }
    }

    /// Takes in what was read of the beacon of the host that writes the database; nothing was where that is this one.
    pub(super) fn take_beacon(&mut self, found: Option<Result<Option<FoundBeacon>, Reason>>, now: Moment) {
        let Some(found) = found else { return };
        let report = |found: FoundBeacon| match BeaconClaim::parse(&found.content) {
            Ok(claim) => Ok(BeaconReport {
                read_at: Some(now.wall()),
                written_at: Some(found.written_at),
                stored_at: Some(found.stored_at),
                claim: Some(claim),
                reason: None,
            }),
            Err(cause) => Err(Reason::new(ReasonKind::Corrupt, format!("read the beacon of the host: {cause}"))),
        };
        let read = found.and_then(|found| found.map(report).transpose());
        let before = self.beacon.take();
        self.beacon = read.map(|report| report.map(Arc::new)).unwrap_or_else(|reason| {
            let before = before.as_deref().cloned().unwrap_or_default();
            Some(Arc::new(BeaconReport { reason: Some(reason), ..before }))
        });
    }

    /// How many commits wait, as far as that was counted.
    pub(super) fn pending_commits(&self) -> Option<u64> {
        match &self.finding {
            Some((_, evidence)) => arrived(&self.positions, evidence).pending_commits(),
            None => self.positions.pending_commits(),
        }
    }

    /// Something was committed that is not proven.
    pub(super) fn pending(&self) -> bool {
        self.positions.unproven().any(|sample| sample.committed)
    }

    /// All that was seen of its database is proven, and the last look found everything in order.
    pub(super) fn is_proven(&self) -> bool {
        let complete = self.finding.as_ref().is_some_and(|(finding, evidence)| {
            evidence.chain == Chain::Complete && evidence.position.is_some() && finding.damaged.is_none()
        });
        let proven = self.positions.newest().is_some() && self.positions.oldest_unproven().is_none();
        complete && proven && self.failure.is_none() && !self.replaced && !self.unread
    }

    /// What is newest in a replica that is proven.
    pub(super) fn proven(&self) -> Option<(Option<u64>, Option<Timestamp>)> {
        let (finding, _) = self.finding.as_ref().filter(|_| self.is_proven())?;
        Some((finding.txid, finding.last_segment_at))
    }

    /// Its numbers change with time alone.
    pub(super) fn moving(&self) -> bool {
        self.pending() || self.finding.as_ref().is_some_and(|(_, evidence)| evidence.chain != Chain::Complete)
    }

    /// Takes in how far Litestream says that it is, as it was read at `at`.
    pub(super) fn compare(&mut self, claim: Txid, at: Moment) {
        if let Some(there) = self.newest_txid().filter(|_| self.found_at.is_some_and(|found| found.mono() <= at.mono()))
        {
            self.lineage.observe(claim.0, there);
        }
    }
}
