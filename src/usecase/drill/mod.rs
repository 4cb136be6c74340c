//! One restore drill: look at the live database, plan and say the price, restore, check what came out.
//!
//! The result is [`Failed`](DrillResult::Failed) only where the backup is known to be bad; whatever kept that from being
//! found out makes it inconclusive.

mod copy;
mod live;
mod outcome;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::task::spawn_blocking;

use self::live::LiveView;
use self::outcome::Stop;
use super::restore::{RestoreOptions, RestoreRequest, plan_restore, restore, way_out};
use crate::domain::assess::costs::Costs;
use crate::domain::drill::{DrillCheck, DrillRecord, DrillRestored, DrillResult};
use crate::domain::human::{self, counted};
use crate::domain::limits::{DRILL_SPACE_MARGIN, RESTORE_PLANS_MAX};

use crate::domain::litestream::{Layout, PlanTarget};
use crate::domain::price::Prices;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestoreBase, RestorePlan, Restored};
use crate::usecase::ports::{
    Clock, DrillEstimate, DrillJob, DrillNews, DrillSpace, KeptCopy, LiveDatabase, Progress, ReplicaStore, RestoreFile,
    Stores,
};

/// Bytes that one request is taken to bring when requests are estimated; those of a restore bring more.
const ESTIMATED_READ_BYTES: u64 = 1 << 20;

/// Listings that are estimated: two of the root, and of each level one to plan and some more to compare.
const ESTIMATED_LISTS: u64 = 24;

/// Reads beside those of the plan: headers that say where the replica is.
const ESTIMATED_HEADERS: u64 = 8;

/// The ports that a drill works with.
pub struct DrillParts {
    pub clock: Arc<dyn Clock>,
    /// Used by nobody else: what they count is what the drill cost.
    pub stores: Arc<dyn Stores>,
    pub space: Arc<dyn DrillSpace>,
    pub live: Option<Arc<dyn LiveDatabase>>,
    pub news: Arc<dyn DrillNews>,
    pub options: RestoreOptions,
    /// `streamgauge` and its version.
    pub program: String,
    /// The drill is ended then, and inconclusive.
    pub timeout: Duration,
}

/// Runs one drill. Whatever goes wrong is in the record.
pub async fn run_drill(parts: DrillParts, job: DrillJob) -> DrillRecord {
    let mut drill = Drill::new(parts, job);
    let timeout = drill.parts.timeout;
    let stop = match tokio::time::timeout(timeout, drill.steps()).await {
        Ok(done) => done.err(),
        Err(_) => {
            let text = format!("the drill was stopped after its timeout of {:.0} s", timeout.as_secs_f64());
            Some(Stop::inconclusive(Reason::new(ReasonKind::Timeout, text)))
        }
    };
    drill.finish(stop)
}

/// The record of a drill of which nothing is known but why it ended.
pub fn inconclusive(
    job: &DrillJob,
    program: &str,
    started_at: jiff::Timestamp,
    finished_at: jiff::Timestamp,
    reason: Reason,
) -> DrillRecord {
    DrillRecord {
        database: job.database.to_string(),
        replica: job.replica.name.clone(),
        url: job.replica.location.url(),
        program: program.to_owned(),
        started_at,
        finished_at,
        reason: Some(reason),
        seconds: finished_at.duration_since(started_at).max(SignedDuration::ZERO).as_secs_f64(),
        ..DrillRecord::default()
    }
}

struct Drill {
    parts: DrillParts,
    job: DrillJob,
    record: DrillRecord,
    begun: SignedDuration,
    /// When a person in need would have begun: looking at the live database is no part of recovering.
    recovering: SignedDuration,
    /// The restored file, which may not be on disk yet.
    restored: Option<Arc<dyn RestoreFile>>,
}

impl Drill {
    fn new(parts: DrillParts, job: DrillJob) -> Self {
        let now = parts.clock.now();
        let nothing = Reason::new(ReasonKind::Failed, "the drill has not finished");
        let record = inconclusive(&job, &parts.program, now.wall(), now.wall(), nothing);
        Self {
            parts,
            job,
            record: DrillRecord { reason: None, ..record },
            begun: now.mono(),
            recovering: now.mono(),
            restored: None,
        }
    }

    /// Seconds since an instant of the monotonic clock.
    fn seconds_since(&self, then: SignedDuration) -> f64 {
        (self.parts.clock.now().mono() - then).as_secs_f64()
    }

    fn prices(&self) -> Prices {
        self.job.replica.location.prices(&self.job.policy.prices)
    }

    fn mono(&self) -> SignedDuration {
        self.parts.clock.now().mono()
    }

    fn check(&mut self, name: &str, result: DrillResult, detail: String, since: SignedDuration) {
        let seconds = self.seconds_since(since);
        self.record.checks.push(DrillCheck { name: name.to_owned(), result, detail, seconds });
    }

    async fn steps(&mut self) -> Result<(), Stop> {
        let url = self.record.url.clone();
        let store = self.parts.stores.open(&self.job.replica.location).map_err(Stop::inconclusive)?;
        self.parts.news.step("looking at the replica");
        let layouts = store.layouts().await.map_err(Stop::inconclusive)?;
        let Some(layout) = layouts.first().copied() else {
            let reason =
                Reason::new(ReasonKind::NotFound, format!("restore {url}: nothing there was written by Litestream"));
            return Err(self.refuse(Stop::failed(reason)));
        };
        let mut base = self.base().await?;
        let mut view = self.look_at_live(store.as_ref(), layout, base.is_none()).await;
        let (mut plans, mut gone) = (0, None);
        self.recovering = self.mono();
        let (plan, restored) = loop {
            let (plan, seen) = self.plan(store.as_ref(), layout, base, view).await?;
            view = seen;
            self.announce(&plan)?;
            self.make_room(&plan)?;
            plans += 1;
            match self.restore(Arc::clone(&store), &plan).await {
                Ok(restored) => break (plan, restored),
                // What is listed and cannot be read after all was deleted in between, unless it stays so.
                Err(stop) if stop.reason.kind == ReasonKind::NotFound && plans < RESTORE_PLANS_MAX => {
                    // A kept copy may be half way to another state by now.
                    base = None;
                    gone = Some(stop.reason);
                }
                // Another one each time: none of them is known to be lost.
                Err(stop) if stop.reason.kind == ReasonKind::NotFound && gone.as_ref() != Some(&stop.reason) => {
                    let hint = "objects are deleted before a restore can read them: raise Litestream's retention";
                    return Err(self.refuse(Stop::inconclusive(stop.reason.with_hint(hint))));
                }
                Err(stop) => return Err(self.refuse(stop)),
            }
        };
        self.inspect(&plan, &restored, &view).await?;
        self.recency(&restored, &view);
        self.keep(&plan, &restored, base).await
    }

    /// Notes what stopped the restore as its check.
    fn refuse(&mut self, stop: Stop) -> Stop {
        self.check("restore", stop.result, stop.reason.message.clone(), self.begun);
        stop
    }

    /// The copy of the drill before, if this drill may start from it.
    async fn base(&self) -> Result<Option<KeptCopy>, Stop> {
        let policy = &self.job.policy;
        if policy.full_every <= 1 {
            return Ok(None);
        }
        let space = Arc::clone(&self.parts.space);
        let kept = blocking(move || Ok(space.kept())).await.map_err(Stop::inconclusive)?;
        Ok(kept.filter(|kept| !self.job.full && kept.incremental_drills + 1 < policy.full_every))
    }

    /// Plans the newest state; or, if the database was written since it was looked at, the state in which it was then.
    async fn plan(
        &mut self,
        store: &dyn ReplicaStore,
        layout: Layout,
        base: Option<KeptCopy>,
        view: LiveView,
    ) -> Result<(RestorePlan, LiveView), Stop> {
        self.parts.news.step("planning");
        let mut request = RestoreRequest { base: base.map(|kept| kept.base), ..RestoreRequest::of(PlanTarget::Latest) };
        let latest = match plan_restore(store, &request).await {
            Ok(plan) => plan,
            Err(reason) => return Err(self.refuse(Stop::of(reason))),
        };
        let (Some(txid), Some(newest)) = (view.txid, latest.txid) else { return Ok((latest, view)) };
        if txid == newest {
            return Ok((latest, view));
        }
        // Level 0 leads only if it still reaches what was planned; else an older state than the newest would be tested.
        request.point = PlanTarget::Txid(txid);
        if live::newest_name(store, layout).await.is_some_and(|raw| raw >= newest)
            && let Ok(plan) = plan_restore(store, &request).await
            && plan.txid == Some(txid)
        {
            return Ok((plan, view));
        }
        Ok((latest, view.without_image("the replica moved on while the live database was being read")))
    }

    /// Says what the drill is going to cost, and refuses what costs too much.
    fn announce(&mut self, plan: &RestorePlan) -> Result<(), Stop> {
        let bytes = plan.bytes();
        let of_plan = plan.objects.iter().map(|object| 1 + object.size.div_ceil(ESTIMATED_READ_BYTES));
        let reads = of_plan.fold(ESTIMATED_HEADERS, u64::saturating_add);
        self.record.estimated_dollars = self.prices().dollars(reads, ESTIMATED_LISTS, bytes);
        self.record.incremental = plan.base.is_some();
        self.parts.news.planned(&DrillEstimate {
            position: position(plan),
            objects: plan.objects.len() as u64,
            bytes,
            requests: reads + ESTIMATED_LISTS,
            dollars: self.record.estimated_dollars,
            database_bytes: plan.database_bytes,
            incremental: self.record.incremental,
        });
        let size_max = self.job.policy.size_max;
        if bytes > size_max {
            let [bytes, most] = [bytes, size_max].map(human::bytes);
            let text = format!("restore: {bytes} would be downloaded, but at most {most} are allowed");
            let reason = Reason::new(ReasonKind::Misconfigured, text);
            return Err(self.refuse(Stop::inconclusive(reason.with_hint("raise --max-size or drill.max-size"))));
        }
        Ok(())
    }

    /// Refuses what does not fit, and bounds the file by what it has to become.
    fn make_room(&mut self, plan: &RestorePlan) -> Result<(), Stop> {
        let kept = plan.base.map_or(0, |base| u64::from(base.commit) * u64::from(base.page_size));
        // A v0.3 snapshot does not say how large it is until it is decompressed.
        let size = plan.database_bytes.unwrap_or_else(|| plan.bytes());
        let needed = size.saturating_sub(kept);
        let needed = needed.saturating_add(needed / 10).saturating_add(DRILL_SPACE_MARGIN);
        let free = self.parts.space.free();
        if let Some(free) = free.filter(|free| *free < needed) {
            let [needed, free] = [needed, free].map(human::bytes);
            let text = format!("restore: {needed} of scratch space are needed, but only {free} may be used");
            let reason = Reason::new(ReasonKind::Failed, text);
            let hint = "use a larger filesystem, with --scratch or drill.scratch";
            return Err(self.refuse(Stop::inconclusive(reason.with_hint(hint))));
        }
        let known = plan.database_bytes.map(|bytes| bytes.max(kept).saturating_add(ESTIMATED_READ_BYTES));
        let rest = free.map(|free| free.saturating_sub(DRILL_SPACE_MARGIN / 2));
        match known.or(rest) {
            Some(bytes) => self.parts.space.bound(bytes).map_err(Stop::inconclusive),
            None => Ok(()),
        }
    }

    async fn restore(&mut self, store: Arc<dyn ReplicaStore>, plan: &RestorePlan) -> Result<Restored, Stop> {
        self.parts.news.step("restoring");
        let since = self.mono();
        let (space, kept) = (Arc::clone(&self.parts.space), plan.base.is_some());
        let file = blocking(move || space.file(kept)).await.map_err(Stop::inconclusive)?;
        let progress: Arc<dyn Progress> = Arc::clone(&self.parts.news) as _;
        let options = self.parts.options.clone();
        let work = restore(Arc::clone(&store), Arc::new(plan.clone()), Arc::clone(&file), options, progress);
        let restored = match work.await {
            Ok(restored) => restored,
            Err(reason) => {
                let asked = RestoreRequest::of(plan.txid.map_or(PlanTarget::Latest, PlanTarget::Txid));
                return Err(Stop::of(way_out(store.as_ref(), &asked, reason).await));
            }
        };
        self.restored = Some(file);
        let failed = plan.shortfall.as_ref().map(|shortfall| {
            format!("nothing leads from {} to {}, although there are later files", shortfall.after, shortfall.before)
        });
        let result = if failed.is_some() { DrillResult::Failed } else { DrillResult::Passed };
        let (pages, size) = (counted(restored.pages, "page"), restored.page_size);
        let made = format!("{pages} of {size} bytes; objects: {}", plan.objects.len());
        self.check("restore", result, failed.unwrap_or(made), since);
        self.record.restored = Some(DrillRestored {
            layout: plan.layout.as_str().to_owned(),
            position: position(plan),
            recovery_point: plan.through,
            bytes: restored.bytes,
            page_size: restored.page_size,
            sha256: None,
            objects: restored.objects.clone(),
            shortfall: plan.shortfall.clone(),
        });
        Ok(restored)
    }

    /// Keeps the copy if nothing is wrong with it.
    async fn keep(&mut self, plan: &RestorePlan, restored: &Restored, base: Option<KeptCopy>) -> Result<(), Stop> {
        let bad = self.record.checks.iter().any(|check| check.result == DrillResult::Failed);
        let Some(txid) = restored.txid.filter(|_| self.job.policy.full_every > 1 && !bad) else { return Ok(()) };
        let incremental_drills = match (plan.base, base) {
            (Some(_), Some(kept)) => kept.incremental_drills + 1,
            _ => 0,
        };
        let base = RestoreBase { txid, page_size: restored.page_size, commit: restored.pages };
        let space = Arc::clone(&self.parts.space);
        // Without it the next drill restores everything.
        let _ = blocking(move || space.keep(&KeptCopy { base, incremental_drills })).await;
        Ok(())
    }

    fn finish(mut self, stop: Option<Stop>) -> DrillRecord {
        let (result, reason) = outcome::outcome(&self.record, stop);
        let now = self.parts.clock.now();
        let costs = Costs { prices: self.job.policy.prices, ..Costs::default() };
        for store in self.parts.stores.report() {
            self.record.downloaded_bytes += store.received_bytes;
            self.record.requests += store.operations.iter().map(|operation| operation.requests).sum::<u64>();
            self.record.dollars += costs.spent(&store);
        }
        self.record.seconds = self.seconds_since(self.begun);
        DrillRecord { result, reason, finished_at: now.wall(), ..self.record }
    }
}

/// `TXID …` or `generation …`.
fn position(plan: &RestorePlan) -> String {
    match (plan.txid, plan.generation) {
        (Some(txid), _) => format!("TXID {txid}"),
        (None, Some(generation)) => format!("generation {generation}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// Runs what blocks where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Reason> + Send + 'static) -> Result<T, Reason> {
    spawn_blocking(work).await.map_err(|error| Reason::new(ReasonKind::Failed, error.to_string()))?
}
