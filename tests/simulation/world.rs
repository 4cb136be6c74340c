//! Files to put into a store, and a probe that is watched looking at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::assess::proof::{Chain, Evidence};
use streamgauge::domain::litestream::{Layout, LevelKeys, LtxName, Txid};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::observation::StagedPosition;
use streamgauge::domain::reason::Reason;
use streamgauge::domain::sqlite::WalPosition;
use streamgauge::domain::verification::VerifyPolicy;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::Pace;
use streamgauge::usecase::replica_probe::{Finding, ReplicaProbe};
use streamgauge_testkit::log::Log;
use streamgauge_testkit::ltx::{Consumed, Header};
use streamgauge_testkit::wal::Position;

use crate::faulty_store::FaultyStore;

pub(crate) const PAGE_SIZE: u32 = 4096;

/// The instant that lies `seconds` after the beginning of all tests.
pub(crate) fn at(seconds: i64) -> Moment {
    Moment::new(Timestamp::from_second(1_700_000_000 + seconds).unwrap(), SignedDuration::from_secs(seconds))
}

/// The end of `frames` frames in the WAL with this salt.
pub(crate) fn wal(salt1: u32, frames: u64) -> WalPosition {
    position(Log::position_of(salt1, frames as u32, PAGE_SIZE))
}

pub(crate) fn position(Position { salt1, salt2, end }: Position) -> WalPosition {
    WalPosition { salt1, salt2, end }
}

pub(crate) fn pace() -> Pace {
    // The files of a simulation are headers.
    Pace { levels: Duration::from_secs(300), verify: VerifyPolicy::OFF, ..Pace::default() }
}

/// Where a file ends in the WAL, as its header says it; `None` as in a compaction.
pub(crate) fn ltx(name: LtxName, written: Timestamp, end: Option<WalPosition>) -> Vec<u8> {
    header_alone(&Header {
        page_size: PAGE_SIZE,
        commit: 4,
        min: name.min.0,
        max: name.max.0,
        timestamp: written.as_millisecond().cast_unsigned(),
        wal: end.map(|WalPosition { salt1, salt2, end }| Consumed { from: 32, end: Position { salt1, salt2, end } }),
    })
}

/// The probe reads headers; the rest only has to be as long as a file at least is.
pub(crate) fn header_alone(header: &Header) -> Vec<u8> {
    let mut file = header.encode().to_vec();
    file.resize(131, 0);
    file
}

pub(crate) fn name(min: u64, max: u64) -> LtxName {
    LtxName { min: Txid(min), max: Txid(max) }
}

/// Puts a file that was written at `second`.
pub(crate) fn put(store: &MemoryStore, level: u8, min: u64, max: u64, second: i64, end: Option<WalPosition>) {
    let name = name(min, max);
    store.put(LevelKeys::Plain.key(level, name), ltx(name, at(second).wall(), end), at(second).wall());
}

pub(crate) fn remove(store: &MemoryStore, level: u8, min: u64, max: u64) {
    assert!(store.remove(&LevelKeys::Plain.key(level, name(min, max))));
}

/// A probe, the store that it looks at, and the files in it.
pub(crate) struct Scene {
    pub(crate) files: Arc<MemoryStore>,
    pub(crate) store: FaultyStore<MemoryStore>,
    pub(crate) probe: ReplicaProbe,
    pub(crate) staged: Option<StagedPosition>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(MemoryStore::new(), false)
    }

    pub(crate) fn with(files: MemoryStore, encrypted: bool) -> Self {
        let files = Arc::new(files);
        let store = FaultyStore::new(files.clone());
        Self { files, store, probe: ReplicaProbe::new(encrypted), staged: None }
    }

    pub(crate) fn look_at(&mut self, second: i64) -> Result<(Finding, Evidence), Reason> {
        let pace = pace();
        let look = self.probe.look(&self.store, self.staged.as_ref(), at(second), &pace);
        look.now_or_never().expect("nothing in memory waits")
    }

    /// Looks, and says what was found and what it took.
    pub(crate) fn look(&mut self, second: i64) -> String {
        self.store.calls();
        let result = self.look_at(second);
        let [lists, folders, reads] = self.store.calls();
        let found = match result {
            Ok((finding, evidence)) => show(&finding, &evidence),
            Err(reason) => format!("{}: {reason}", reason.kind.as_str()),
        };
        format!("{found} | {lists} lists, {folders} folders, {reads} reads")
    }

    pub(crate) fn check(&mut self, second: i64, expected: &str) {
        let actual = self.look(second);
        assert_eq!(actual, expected, "at {second}");
    }

    /// Looks, and checks what was found but not what it took.
    pub(crate) fn check_found(&mut self, second: i64, expected: &str) {
        let actual = self.look(second);
        assert_eq!(actual.split(" | ").next().unwrap(), expected, "at {second}");
    }
}

fn show(finding: &Finding, evidence: &Evidence) -> String {
    let second = |time: Timestamp| time.duration_since(at(0).wall()).as_secs();
    let mut words = vec![finding.layout.map_or("nothing", Layout::as_str).to_owned()];
    words.extend(finding.txid.map(|txid| format!("txid {txid}")));
    let frames = |position: WalPosition| (position.end - 32) / u64::from(24 + PAGE_SIZE);
    words.extend(evidence.position.map(|p| format!("{} {}:{}", evidence.method.as_str(), p.salt1, frames(p))));
    words.push(match &evidence.chain {
        Chain::Complete => "complete".to_owned(),
        Chain::Broken { end, .. } => format!("broken after {}", end.map_or(-1, second)),
        Chain::Skipped { end } => format!("skipped from {}", second(*end)),
        Chain::NoStart => "no start".to_owned(),
    });
    words.extend(finding.coverage.gaps.iter().map(|gap| {
        let short = |text: &str| text.trim_start_matches('0').to_owned();
        format!("gap {}..{}", short(&gap.after), short(&gap.before))
    }));
    let objects: BTreeMap<_, _> = finding.coverage.levels.iter().map(|level| (level.level, level.objects)).collect();
    words.extend(objects.iter().map(|(level, count)| format!("{level}={count}")));
    words.join(" ")
}
