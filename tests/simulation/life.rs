//! Lives of a database, its Litestream and an agent that watches both: after each look, what is claimed is compared with
//! what is so.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use jiff::SignedDuration;
use streamgauge::domain::assess::positions::Positions;
use streamgauge::domain::assess::proof::{Chain, Evidence, Exposure, Unread, exposure, settle};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::Pace;
use streamgauge::usecase::replica_probe::{Finding, ReplicaProbe};

use crate::faulty_store::{Call, Fate, FaultyStore};
use crate::litestream::{Dice, Habits, Litestream};
use crate::peeks::bucket;
use crate::world::{at, pace};

/// Steps in one life.
const STEPS: usize = 120;

/// What the agent knows of the one replica, kept as it keeps it.
struct Watcher {
    /// The replica is in a bucket, where single files are asked for.
    peeks: bool,
    probe: ReplicaProbe,
    positions: Positions,
    finding: Option<(Finding, Evidence)>,
    failing: bool,
    pace: Pace,
}

/// What was so at the last look that succeeded.
#[derive(Clone, Copy, Default)]
struct Truth {
    /// Commits that restored when it began.
    at_first: usize,
    /// Commits that restored, at most while it lasted.
    restores: usize,
    /// Commits that were made when the source was sampled.
    sampled: usize,
    /// There was a hole in front of newer files, or nothing to start from, at some time and all the time.
    broken: (bool, bool),
}

struct Life {
    seed: u64,
    world: Arc<Mutex<Litestream>>,
    store: FaultyStore<MemoryStore>,
    watcher: Watcher,
    truth: Truth,
    /// Since when all looks found nothing to start from.
    barren_since: Option<Moment>,
    /// Commits were once in the bucket that no longer are.
    lost: bool,
    /// The agent was started anew, or could not be sure that it saw each commit.
    unsure: bool,
    dice: Dice,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xa5a5);
        let habits =
            Habits { hasty: dice.odds(20), upload_dates: dice.odds(30), losses: dice.odds(50), closing: dice.odds(50) };
        let model = Litestream::new(seed, habits);
        let store = FaultyStore::new(Arc::clone(&model.files));
        // A loss in the middle shows only when everything is listed: lives with losses list everything each time.
        let reconcile = if habits.losses { std::time::Duration::ZERO } else { pace().reconcile };
        let levels = std::time::Duration::from_secs(20);
        let pace = Pace { reconcile, levels, bucket_levels: levels, ..pace() };
        let peeks = dice.odds(50);
        let watcher = Watcher {
            peeks,
            probe: probe(peeks),
            positions: Positions::default(),
            finding: None,
            failing: false,
            pace,
        };
        let world = Arc::new(Mutex::new(model));
        Self {
            seed,
            world,
            store,
            watcher,
            truth: Truth::default(),
            barren_since: None,
            lost: false,
            unsure: false,
            dice,
        }
    }

    fn tell(&self, what: impl std::fmt::Display) {
        self.world.lock().unwrap().tell(what);
    }

    fn live(&mut self) {
        for _ in 0..STEPS {
            let lost = self.world.lock().unwrap().step();
            self.lost |= lost;
            match self.dice.below(20) {
                0..=8 => self.sample(),
                9..=13 => self.look(),
                14 if self.dice.odds(20) => self.restart(),
                _ => {}
            }
            self.judge();
        }
        // Whatever happened, a bucket in order is found in order.
        self.look();
        self.judge();
    }

    fn sample(&mut self) {
        let look = self.world.lock().unwrap().look();
        self.unsure |= look.counters.doubts > 0;
        self.watcher.positions.record(&look);
    }

    fn restart(&mut self) {
        let mut world = self.world.lock().unwrap();
        let now = at(world.now);
        let saved = self.watcher.positions.save();
        world.recount();
        world.tell("agent starts anew");
        drop(world);
        self.watcher.positions = Positions::restore(&saved, now);
        self.watcher.probe = probe(self.watcher.peeks);
        self.watcher.finding = None;
        self.watcher.failing = false;
        self.barren_since = None;
        self.unsure = true;
    }

    /// A look at the replica, during which Litestream goes on and the store may fail.
    fn look(&mut self) {
        self.sample();
        let (sampled, truth) = {
            let world = self.world.lock().unwrap();
            let (at_first, broken) = world.restores();
            let truth = Truth { at_first, restores: at_first, sampled: world.commits.len(), broken: (broken, broken) };
            (at(world.now), Arc::new(Mutex::new(truth)))
        };
        let (world, during) = (Arc::clone(&self.world), Arc::clone(&truth));
        let fault = self.dice.odds(25).then(|| (self.dice.below(6), self.dice.below(4)));
        let mut calls = 0;
        self.store.script(move |call| {
            let mut world = world.lock().unwrap();
            if world.dice.odds(30) {
                world.work();
            }
            during.lock().unwrap().include(&world);
            calls += 1;
            let what = format!("{call:?}");
            world.tell(what);
            match (fault, call) {
                (Some((which, _)), _) if which + 1 != calls => Fate::Answered,
                (Some((_, 0)), Call::Read(_)) => Fate::Cut(50),
                (Some((_, 1)), _) => Fate::Fails(ReasonKind::Throttled),
                (Some((_, 2)), _) => Fate::Hangs,
                (Some(_), _) => Fate::Fails(ReasonKind::Denied),
                (None, _) => Fate::Answered,
            }
        });
        let Watcher { probe, pace, .. } = &mut self.watcher;
        probe.claim(self.world.lock().unwrap().claimed());
        // A look that hangs is dropped when its time is up.
        let result = probe.look(&self.store, None, sampled, pace).now_or_never();
        truth.lock().unwrap().include(&self.world.lock().unwrap());
        match result {
            Some(Ok((finding, evidence))) => {
                self.truth = *truth.lock().unwrap();
                let barren = evidence.chain == Chain::NoStart;
                self.barren_since = barren.then(|| self.barren_since.unwrap_or(sampled));
                settle(&mut self.watcher.positions, &evidence);
                self.tell(format_args!("look found {:?} {:?}", evidence.position, evidence.chain));
                self.watcher.finding = Some((finding, evidence));
                self.watcher.failing = false;
                self.check_coverage();
            }
            Some(Err(reason)) => {
                self.tell(format_args!("look failed: {reason}"));
                self.watcher.failing = true;
            }
            None => {
                self.tell("look given up");
                self.watcher.failing = true;
            }
        }
    }

    /// Holes are there when they are, and not when they are not.
    fn check_coverage(&self) {
        let Some((finding, _)) = &self.watcher.finding else { return };
        let claimed = !finding.coverage.restorable || !finding.coverage.gaps.is_empty();
        if claimed && !self.truth.broken.0 {
            self.fail("a hole is claimed that is not there");
        }
        if !claimed && self.truth.broken.1 {
            self.fail("a hole is there that is not claimed");
        }
    }

    fn judge(&self) {
        let world = self.world.lock().unwrap();
        let now = at(world.now);
        let evidence = self.watcher.finding.as_ref().map(|(_, evidence)| evidence);
        let unread = Unread { replica: self.watcher.failing, ..Unread::default() };
        let claim = exposure(&self.watcher.positions, evidence, unread, SignedDuration::from_mins(5), now);
        let Some(evidence) = evidence else { return };
        let problem = self.recovery_point(&claim, evidence, &world);
        let problem = problem.or_else(|| self.lag(&claim, evidence, &world)).or_else(|| self.bytes(&claim, &world));
        drop(world);
        if let Some(problem) = problem {
            self.fail(&format!("{problem}: {claim:?}"));
        }
    }

    fn recovery_point(&self, claim: &Exposure, evidence: &Evidence, world: &Litestream) -> Option<String> {
        let claimed = claim.recovery_point?;
        // Where the store only knows when a file was uploaded, so does whoever only has its listing.
        let listed = !evidence.chain.arrives();
        let missing = world.made(self.truth.restores + 1).filter(|made| *made < claimed)?;
        if listed && world.habits.upload_dates {
            return None;
        }
        Some(format!("recovery point {claimed} is claimed, and a commit made at {missing} does not restore"))
    }

    fn lag(&self, claim: &Exposure, evidence: &Evidence, world: &Litestream) -> Option<String> {
        let lag = claim.lag?;
        let missing = self.truth.restores < self.truth.sampled;
        if missing && claim.unreplicated_since.is_none() {
            return Some("no lag is claimed, and a commit made before the verification is missing".into());
        }
        if let Some(since) = self.barren_since.filter(|since| lag < at(world.now).since(*since)) {
            return Some(format!("nothing restores since {since:?}"));
        }
        let simple =
            !self.unsure && !self.lost && !world.habits.closing && !world.habits.hasty && evidence.chain.arrives();
        if missing && simple {
            // It was sampled at the verification at the latest.
            let until = if self.watcher.failing { evidence.verified_at } else { at(world.now) };
            let least = until.since(evidence.verified_at);
            if lag < least {
                return Some(format!("lag is at least {least}"));
            }
            let first = world.made(self.truth.at_first + 1)?;
            let most = until.wall().duration_since(first);
            if lag > most {
                return Some(format!("lag is at most {most}"));
            }
        }
        let looked_since =
            self.watcher.positions.newest().is_some_and(|newest| newest.last_seen != evidence.verified_at);
        let complete = self.truth.at_first >= self.truth.sampled;
        if complete && simple && !looked_since && !lag.is_zero() {
            return Some("lag is claimed, and all that was seen is in the bucket".into());
        }
        None
    }

    fn bytes(&self, claim: &Exposure, world: &Litestream) -> Option<String> {
        let claimed = claim.unreplicated_bytes.filter(|_| !self.watcher.failing)?;
        let newest = self.watcher.positions.newest()?;
        let seen = world.commits.iter().filter(|made| at(**made).mono() <= newest.last_seen.mono()).count();
        let missing = |restored| world.bytes.iter().take(seen).skip(restored).sum::<u64>();
        let (least, most) = (missing(self.truth.restores), missing(self.truth.at_first));
        // A hasty Litestream can hide a file from one listing, by moving it up while it is listed.
        let wrong =
            (claimed > most && !world.habits.hasty) || (claimed < least && !claim.unreplicated_bytes_lower_bound);
        wrong.then(|| format!("{least} to {most} bytes are missing"))
    }

    fn fail(&self, what: &str) -> ! {
        let story = self.world.lock().unwrap().story.join("\n");
        panic!("seed {} (STREAMGAUGE_SEED repeats it alone): {what}\n{story}", self.seed);
    }
}

fn probe(peeks: bool) -> ReplicaProbe {
    if peeks { ReplicaProbe::of(&Arc::new(bucket())) } else { ReplicaProbe::default() }
}

impl Truth {
    fn include(&mut self, world: &Litestream) {
        let (restores, broken) = world.restores();
        self.restores = self.restores.max(restores);
        self.broken = (self.broken.0 || broken, self.broken.1 && broken);
    }
}

#[test]
fn claims_are_never_better_than_the_truth() {
    let seeds = match std::env::var("STREAMGAUGE_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..2000,
    };
    for seed in seeds {
        Life::new(seed).live();
    }
}
