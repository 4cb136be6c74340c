//! Reports for tests: one database in each state, and one report in which everything is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::alert::{Alert, AlertState};
use crate::domain::assess::churn::ChurnReport;
use crate::domain::assess::growth::GrowthReport;
use crate::domain::assess::permissions::ModeReport;
use crate::domain::assess::proof::LagUnknownReport;
use crate::domain::assess::proof::Method;
use crate::domain::assess::rates::Rates;
use crate::domain::assess::sizing::Sizing;
use crate::domain::assessment::*;
use crate::domain::beacon::{BeaconClaim, BeaconReport};
use crate::domain::drill::{
    DrillCheck, DrillDownload, DrillHistory, DrillRecord, DrillReport, DrillRestored, DrillResult, ProbeRecord,
};
use crate::domain::history::{History, Recorder};
use crate::domain::litestream::{Hole, Layout, LevelKeys, Txid};
use crate::domain::observation::{Counters, FileMode, FileRole, Filesystem, WalSource};
use crate::domain::profile::Profile;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::replacement::Replacement;
use crate::domain::report::Report;
use crate::domain::restore::RestoredObject;
use crate::domain::shard::Shard;
use crate::domain::spot::{SpotMismatch, SpotReport};
use crate::domain::sqlite::WalPosition;
use crate::domain::store_kind::StoreKind;
use crate::domain::timeline::{Blocked, Caveat, Span, TimelineReport};
use crate::domain::verdict::{Breach, Severity, Status, Verdict, Verdicts};
use crate::domain::verification::{FindingKind, ObjectFinding, VerificationReport};

/// The instant of every report here: 2026-01-01 00:00:00 UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("in range")
}

fn ago(seconds: i64) -> Option<Timestamp> {
    Some(now() - SignedDuration::from_secs(seconds))
}

pub(crate) fn report(databases: Vec<DatabaseReport>) -> Report {
    let agent = AgentReport {
        version: "1.2.3",
        revision: "abcdef0",
        started_at: now() - SignedDuration::from_secs(3600),
        config: ConfigReport {
            last_reload_successful: true,
            last_reload_success_at: ago(3600),
            in_force_since: ago(3600),
            error: None,
        },
        ..AgentReport::default()
    };
    let states = Tally::of(databases.iter()).states;
    let databases = databases.into_iter().map(Arc::new).collect();
    Report {
        generated_at: now(),
        assessment: Assessment { complete: true, agent, databases, states, ..Assessment::default() },
        verdicts: Verdicts::default(),
        alerts: Vec::new(),
        alerts_dropped: 0,
        history: History::default(),
    }
}

/// Written, replicated and proven four seconds ago.
pub(crate) fn healthy(name: &str) -> DatabaseReport {
    let levels = [("0", 12, 48_000), ("9", 2, 900_000)];
    DatabaseReport {
        name: name.into(),
        state: DatabaseState::Monitored,
        reason: None,
        local: Some(local(name).into()),
        rpo_seconds: 300.0,
        metrics: Profile::Full,
        objectives: ObjectivesReport { retention_seconds: Some(86_400.0), snapshot_interval_seconds: None },
        replicas: vec![ReplicaReport {
            name: "s3".to_owned(),
            store: "s3",
            space_left_bytes: None,
            url: "s3://backups/app".to_owned(),
            bucket: Some("backups".to_owned()),
            layout: Some(Layout::V5(LevelKeys::Hex)),
            up: Some(true),
            reason: None,
            method: Some(Method::Wal),
            recovery_point: ago(4),
            lag_seconds: Some(0.0),
            lag_upper_bound_seconds: None,
            unreplicated_since: None,
            unreplicated_bytes: Some(0),
            unreplicated_bytes_lower_bound: false,
            watched_since: ago(86_400).unwrap_or_default(),
            verified_at: ago(4),
            verify_interval_seconds: 300.0,
            rests_until: ago(-296),
            last_segment_at: ago(20),
            txid: Some(116),
            coverage: Some(Arc::new(CoverageReport {
                restorable: true,
                restorable_since: ago(86_400),
                gaps: Vec::new(),
                snapshots: 2,
                newest_snapshot_at: ago(3600),
                unsnapshotted_since: ago(3570),
                changes_since_snapshot: Some(12),
                whole: Some(true),
                expired_objects: Some(0),
                download_bytes: Some(481_000),
                levels: levels
                    .map(|(level, objects, bytes)| LevelReport { level, objects, bytes, newest_at: ago(20) })
                    .to_vec(),
            })),
            timeline: Some(Arc::new(timeline())),
            verification: Some(Arc::new(VerificationReport {
                structure_verified: 14,
                content_verified: 13,
                read_bytes: 61_000,
                reread: 12,
                reread_bytes: 40_000,
                oldest_read_at: ago(70_000),
                needed: 13,
                needed_verified: 13,
                ..VerificationReport::default()
            })),
            drill: None,
            beacon: None,
            keeping: KeepingReport {
                growth: Some(GrowthReport {
                    seconds: 3600.0,
                    received_bytes: 48_000,
                    written_bytes: 905_680,
                    expected_bytes: 19_637_152,
                }),
                foreign_history: Some(false),
                storage_dollars_per_month: Some(0.000_021_8),
                kept_seconds: Some(86_400.0),
                churn: Some(ChurnReport { seconds: 3600.0, objects: 0, pages: 2, dollars_per_month: 0.0 }),
                lag_unknown: None,
            },
            spot: Some(SpotReport {
                interval_seconds: Some(3600.0),
                equal: 23,
                inconclusive: 1,
                pages_compared: 391,
                last_compared: 17,
                conclusive_at: ago(1800),
                ..SpotReport::default()
            }),
        }],
    }
}

/// A day, the older half of it hour by hour.
fn timeline() -> TimelineReport {
    let span = |from, until, points, resolution_seconds: f64| Span {
        from: now() - SignedDuration::from_secs(from),
        until: now() - SignedDuration::from_secs(until),
        points,
        resolution_seconds,
        typical_seconds: (resolution_seconds > 0.0).then_some(resolution_seconds),
        blocked: None,
    };
    TimelineReport {
        spans: vec![span(86_400, 43_200, 12, 3600.0), span(43_200, 4, 900, 0.0)],
        since: ago(86_400),
        listed_at: ago(1800),
        ..TimelineReport::default()
    }
}

fn local(name: &str) -> LocalReport {
    LocalReport {
        path: format!("/srv/{name}.db"),
        observed_at: now(),
        polled: false,
        page_size: 4096,
        size_bytes: 1_048_576,
        wal_size_bytes: Some(412_032),
        journal_mode_wal: true,
        wal_frames: Some(100),
        wal_backfilled_frames: Some(80),
        wal_oldest_reader_frame: Some(90),
        wal_source: Some(WalSource::WalIndex),
        last_commit_at: ago(20),
        counters: Counters { commits: 42, wal_resets: 3, written_bytes: 905_680, ..Counters::default() },
        rates: Some(Rates {
            window_seconds: 600.0,
            growth_bytes_per_second: -12.5,
            write_transactions_per_second: 0.25,
            written_bytes_per_second: 2048.0,
        }),
        wal_since: ago(300),
        sizing: Sizing { projected_size_bytes: Some(2_097_152.0), write_transactions_per_second: Some(0.25) },
        modes: Arc::new([ModeReport {
            found: FileMode { file: FileRole::Database, mode: 0o600, uid: 1000, gid: 1000 },
            problem: None,
            harmless: false,
        }]),
        filesystem: Some(FilesystemReport {
            space: Filesystem { size_bytes: 10 << 30, avail_bytes: 4 << 30, used_bytes: 4 << 30 },
            filling_bytes_per_second: Some(4096.0),
        }),
        staging_filesystem: None,
        used_objective_ratio: 0.8,
        staging_bytes: Some(65_536),
        lock_holder_pid: Some(77),
        open: Some(true),
        replacement: Replacement::Agrees { pages: 9 }.into(),
        litestream: Some(LitestreamReport {
            up: Some(true),
            evidence: LitestreamEvidence::Attached(77),
            pid: Some(77),
        }),
        txid_claim: Some(117),
    }
}

/// A drill of an hour ago, with success.
pub(crate) fn drill_record(name: &str) -> DrillRecord {
    DrillRecord {
        database: name.to_owned(),
        replica: "s3".to_owned(),
        url: "s3://backups/app".to_owned(),
        program: "streamgauge 1.2.3".to_owned(),
        started_at: now() - SignedDuration::from_secs(3600),
        finished_at: now() - SignedDuration::from_secs(3580),
        result: DrillResult::Passed,
        reason: None,
        incremental: false,
        restored: Some(DrillRestored {
            layout: "v0.5".to_owned(),
            position: "TXID 0000000000000074".to_owned(),
            recovery_point: now() - SignedDuration::from_secs(3620),
            bytes: 1_048_576,
            page_size: 4096,
            sha256: None,
            objects: Vec::new(),
            shortfall: None,
        }),
        checks: Vec::new(),
        probes: vec![ProbeRecord {
            name: "newest order".to_owned(),
            result: DrillResult::Passed,
            value: Some(12.5),
            detail: "12 s old, at most 1 h".to_owned(),
        }],
        downloaded_bytes: 480_000,
        requests: 9,
        estimated_dollars: 0.000_05,
        dollars: 0.000_06,
        restore_seconds: Some(7.5),
        seconds: 20.0,
    }
}

/// Drilled an hour ago, with success, and daily.
pub(crate) fn drilled(name: &str) -> DatabaseReport {
    let mut database = healthy(name);
    let record = drill_record(name);
    let mut history = DrillHistory { first_seen_at: ago(90_000), next_due_at: ago(-82_800), ..DrillHistory::default() };
    let began = record.started_at;
    history.conclude(record, began);
    database.replicas[0].drill = Some(Arc::new(DrillReport {
        interval_seconds: Some(86_400.0),
        withheld: None,
        running_since: None,
        download_bytes: Some(481_000),
        rto_seconds: Some(900.0),
        history: Arc::new(history),
    }));
    database
}

/// Commits wait for more than the objective, and nobody knows exactly how much there is of them.
pub(crate) fn pending(name: &str) -> DatabaseReport {
    let mut database = healthy(name);
    let replica = &mut database.replicas[0];
    replica.recovery_point = ago(410);
    replica.lag_seconds = Some(400.0);
    replica.lag_upper_bound_seconds = Some(410.0);
    replica.unreplicated_since = ago(400);
    replica.unreplicated_bytes = Some(20_600);
    replica.unreplicated_bytes_lower_bound = true;
    replica.verified_at = ago(10);
    if let Some(coverage) = &mut replica.coverage {
        let coverage = Arc::make_mut(coverage);
        coverage.gaps.push(hole());
    }
    if let Some(spot) = &mut replica.spot {
        let (key, txid) = ("0009/0000000000000001-0000000000000009.ltx".to_owned(), Txid(16));
        spot.mismatches = vec![SpotMismatch { page: 7, key, txid, since: now() - SignedDuration::from_secs(300) }];
        spot.different = 1;
    }
    replica.verification = Some(Arc::new(VerificationReport {
        structure_verified: 3,
        pending: 2,
        needed: 6,
        needed_verified: 4,
        needed_left: 1,
        needed_older: true,
        findings: vec![ObjectFinding {
            kind: FindingKind::Truncated,
            key: "0000/000000000000000c-000000000000000c.ltx".to_owned(),
            detail: "unexpected end at byte 4096".to_owned(),
            seen_at: now() - SignedDuration::from_secs(60),
            needed: true,
        }],
        ..VerificationReport::default()
    }));
    database
}

/// Neither the files nor the bucket could be read, ever.
pub(crate) fn unknown(name: &str) -> DatabaseReport {
    let mut database = healthy(name);
    database.state = DatabaseState::Unreadable;
    database.reason = Some(Box::new(Reason::new(ReasonKind::Denied, "read /srv/app.db: permission denied")));
    database.local = None;
    let denied = Reason::new(ReasonKind::Denied, "list s3://backups/app: access denied");
    let lag_unknown =
        Some(Box::new(LagUnknownReport { since: now() - SignedDuration::from_secs(500), commit_at: ago(490) }));
    database.replicas = vec![ReplicaReport {
        layout: None,
        up: Some(false),
        reason: Some(Box::new(denied.with_hint("grant s3:ListBucket on backups"))),
        method: None,
        recovery_point: None,
        lag_seconds: None,
        unreplicated_bytes: None,
        verified_at: None,
        last_segment_at: None,
        txid: None,
        coverage: None,
        timeline: None,
        verification: None,
        keeping: KeepingReport { lag_unknown, ..KeepingReport::default() },
        spot: None,
        ..database.replicas[0].clone()
    }];
    database
}

/// Seen from elsewhere, with the beacon of the host that writes it.
pub(crate) fn observed(name: &str) -> DatabaseReport {
    let mut database = healthy(name);
    (database.state, database.local) = (DatabaseState::Remote, None);
    let beacon = BeaconReport {
        read_at: ago(4),
        written_at: ago(34),
        stored_at: ago(34),
        claim: Some(claim(name)),
        reason: None,
    };
    let replica = &mut database.replicas[0];
    (replica.method, replica.lag_seconds, replica.unreplicated_bytes) =
        (Some(Method::Beacon), beacon.lag_seconds(None), Some(0));
    replica.beacon = Some(Arc::new(beacon));
    database
}

fn claim(name: &str) -> BeaconClaim {
    BeaconClaim {
        schema: crate::domain::beacon::SCHEMA,
        written_at: now() - SignedDuration::from_secs(32),
        interval_seconds: 60.0,
        host: "db1".to_owned(),
        database: name.to_owned(),
        version: "1.2.3".to_owned(),
        recovery_point: ago(36),
        lag_seconds: Some(0.0),
        unreplicated_since: None,
        unreplicated_bytes: Some(0),
        pending_commits: Some(0),
        position: None,
        txid: Some(116),
    }
}

/// Versioned and closed.
pub(crate) fn bucket() -> BucketReport {
    BucketReport {
        bucket: "backups".to_owned(),
        checked_at: ago(3600),
        versioning_enabled: Some(true),
        public_access_blocked: Some(true),
        public: Some(false),
        object_lock_enabled: Some(false),
        noncurrent_expiry_configured: Some(true),
        reason: None,
    }
}

/// A report in which every family has a sample.
pub(crate) fn full() -> Report {
    let mut report = report(vec![drilled("app"), pending("orders"), unknown("zeta")]);
    let mut duration = DurationHistogram::default();
    duration.observe(Duration::from_millis(3));
    duration.observe(Duration::from_secs(2));
    duration.observe(Duration::from_secs(100));
    report.assessment.agent.state =
        Some(StateReport { saved: Some(true), last_saved_at: ago(7), ..StateReport::default() });
    report.assessment.agent.sources = vec![SourceReport {
        source: "/etc/litestream.yml".to_owned(),
        success: true,
        databases: 3,
        warnings: Vec::new(),
        error: None,
    }];
    report.assessment.agent.shard = Some(Shard { index: 1, count: 3 });
    report.assessment.agent.series =
        Some(SeriesReport { limit: 1000, configured: 400, served: 400, reduced: Reduced::No });
    report.assessment.agent.collectors = vec![CollectorReport {
        collector: "local",
        success: true,
        last_success_at: ago(1),
        last_round_at: now() - SignedDuration::from_secs(1),
        interval_seconds: Some(1.0),
        duration: duration.clone(),
    }];
    report.assessment.agent.receivers = vec![ReceiverReport {
        receiver: "pager".to_owned(),
        kind: "webhook",
        failing_since: ago(60),
        ..ReceiverReport::default()
    }];
    report.assessment.agent.stores = vec![StoreReport {
        billed: vec![Billed {
            host: Some("s3.eu-central-1.amazonaws.com:443".to_owned()),
            reads: 31,
            lists: 9,
            others: 2,
            bytes: 12_345,
        }],
        store: StoreKind::S3,
        received_bytes: 12_345,
        operations: vec![StoreOperationReport {
            operation: "list",
            requests: 9,
            failures: vec![("denied", 2)],
            duration,
        }],
        recent_requests: 20,
        recent_failures: 3,
        clock_offset_seconds: Some(-7.5),
        request_dollars_per_month: Some(0.0125),
    }];
    report.assessment.agent.buckets = vec![bucket()];
    report.assessment.databases.push(Arc::new(observed("observed")));
    report.assessment.states = Tally::of(report.assessment.databases.iter().map(|database| &**database)).states;
    report.assessment.agent.cost = CostReport {
        dollars_per_month: Some(0.0126),
        budget_dollars_per_month: Some(5.0),
        request_budget_dollars_per_month: Some(2.0),
        look_spacing: Some(3.25),
    };
    report.assessment.agent.process = Some(ProcessReport {
        cpu_seconds: 1.5,
        resident_memory_bytes: 16 << 20,
        open_fds: 12,
        max_fds: Some(1024),
        panics: 1,
    });
    report.assessment.agent.receivers = vec![
        ReceiverReport {
            receiver: "pager".to_owned(),
            kind: "pagerduty",
            notifications: 4,
            failures: vec![("timeout", 2)],
            last_success_at: ago(600),
            failing_since: ago(300),
            reason: Some(Reason::new(ReasonKind::Timeout, "send to events.pagerduty.com: no answer in time")),
            waiting: 1,
        },
        ReceiverReport {
            receiver: "deadman".to_owned(),
            kind: "deadman",
            notifications: 60,
            last_success_at: ago(20),
            ..ReceiverReport::default()
        },
    ];
    report.assessment.agent.drill_budget =
        Some(DrillBudgetReport { budget_bytes: 20 << 30, downloaded_bytes: 480_000 });
    report.alerts = vec![
        alert("orders", AlertState::Firing, None),
        alert("app", AlertState::Firing, Some("silenced: moving")),
        alert("zeta", AlertState::Pending, None),
        alert("app", AlertState::Resolved, None),
    ];
    let verdicts = [
        verdict("app", None, Severity::Critical, Status::Pass, "DatabaseUnreadable"),
        verdict("orders", Some("s3"), Severity::Critical, Status::Fail, "ReplicationLag"),
        verdict("zeta", Some("s3"), Severity::Warning, Status::Unknown, "SnapshotStale"),
    ];
    report.verdicts.databases = verdicts.into_iter().map(|verdict| vec![verdict].into()).collect();
    report.verdicts.breaches = vec![Breach {
        check: "ReplicationLag",
        severity: Severity::Critical,
        database: Arc::clone(&report.assessment.databases[1]),
        replica: Some("s3".to_owned()),
        value: 400.0,
    }];
    report.verdicts.troubles = [("ReplicationLag", [1, 0]), ("SnapshotStale", [0, 1])].into();
    report
}

/// A report that has every field: [`full`], with all that "app" and the agent can say beside it.
pub(crate) fn everything() -> Report {
    let mut report = full();
    let reason = || Some(Reason::new(ReasonKind::Failed, "read it: some failure").with_hint("do something"));
    let agent = &mut report.assessment.agent;
    agent.config.error = Some("streamgauge.toml: no such key".to_owned());
    agent.buckets[0].reason = reason();
    agent.sources[0].error = Some("no such file".to_owned());
    agent.sources[0].warnings.push("it has no databases".to_owned());
    agent.state = agent.state.take().map(|state| StateReport { reason: reason(), ..state });
    let app = Arc::make_mut(&mut report.assessment.databases[0]);
    app.reason = reason().map(Box::new);
    app.objectives.snapshot_interval_seconds = Some(43_200.0);
    if let Some(local) = app.local_mut() {
        local.staging_filesystem = local.filesystem.map(Box::new);
        Arc::make_mut(&mut local.modes)[0].problem = Some("mode 0644, expected 0600".to_owned());
    }
    let replica = &mut app.replicas[0];
    replica.space_left_bytes = Some(4096);
    replica.spot = replica.spot.take().map(|spot| SpotReport { not_compared: Some("no answer".to_owned()), ..spot });
    if let Some(verification) = &mut replica.verification {
        Arc::make_mut(verification).unread_since = ago(7200);
    }
    if let Some(timeline) = &mut replica.timeline {
        let timeline = Arc::make_mut(timeline);
        (timeline.gaps, timeline.largest_gap_seconds, timeline.cut_off_at) = (1, Some(43_200.0), ago(86_400));
        timeline.caveats.push(Caveat { releases: "0.5.8 to 0.5.9".to_owned(), detail: "They stop early.".to_owned() });
        timeline.spans[0].blocked = Some(Box::new(Blocked {
            hole: hole(),
            key: Some("0000/01.ltx".to_owned()),
            detail: "It is gone.".to_owned(),
        }));
    }
    if let Some(drill) = &mut replica.drill {
        let drill = Arc::make_mut(drill);
        (drill.withheld, drill.running_since) = (Some("it is too large".to_owned()), ago(5));
        let history = Arc::make_mut(&mut drill.history);
        history.downloads.push(DrillDownload { at: now(), bytes: 480_000 });
        history.last.as_deref_mut().into_iter().for_each(more_of_a_drill);
    }
    let claim = BeaconClaim {
        unreplicated_since: ago(40),
        position: Some(WalPosition { salt1: 1, salt2: 2, end: 32 }),
        ..claim("app")
    };
    replica.beacon = Some(Arc::new(BeaconReport { claim: Some(claim), reason: reason(), ..BeaconReport::default() }));
    let mut recorder = Recorder::default();
    recorder.record(app, now());
    report.history = recorder.history();
    report
}

fn more_of_a_drill(record: &mut DrillRecord) {
    record.reason = Some(Reason::new(ReasonKind::Failed, "restore it: some failure"));
    let detail = "every page is where it belongs".to_owned();
    record.checks.push(DrillCheck {
        name: "quick_check".to_owned(),
        result: DrillResult::Passed,
        detail,
        seconds: 0.5,
    });
    if let Some(restored) = &mut record.restored {
        (restored.sha256, restored.shortfall) = (Some("00".repeat(32)), Some(hole()));
        let key = "0009/0000000000000001-0000000000000009.ltx".to_owned();
        restored.objects.push(RestoredObject { key, bytes: 9, checksum: "0f".repeat(8) });
    }
}

fn hole() -> Hole {
    Hole { after: "0000000000000010".to_owned(), before: "0000000000000012".to_owned() }
}

fn alert(database: &str, state: AlertState, suppressed: Option<&str>) -> Arc<Alert> {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let labels = [("alertname", "ReplicationLag"), ("severity", "critical"), ("database", database), ("replica", "s3")];
    Arc::new(Alert {
        labels: map(&labels),
        annotations: map(&[
            ("summary", &format!("{database}: replication to s3 is behind")),
            ("description", "It is 6 min 40 s behind."),
            ("action", "Look at Litestream."),
            ("runbook_url", "https://example.org/RUNBOOK.md#replicationlag"),
        ]),
        severity: Severity::Critical,
        state,
        active_at: now() - SignedDuration::from_secs(400),
        fired_at: ago(340).filter(|_| state != AlertState::Pending),
        ended_at: ago(330).filter(|_| state == AlertState::Resolved),
        resolved_at: ago(30).filter(|_| state == AlertState::Resolved),
        value: 400.0,
        suppressed: suppressed.map(str::to_owned),
    })
}

fn verdict(on: &str, replica: Option<&str>, severity: Severity, status: Status, check: &'static str) -> Verdict {
    let (database, replica) = (on.into(), replica.map(Into::into));
    Verdict {
        check,
        title: "the title",
        severity,
        database: Some(database),
        replica,
        status,
        detail: "the detail".into(),
    }
}

impl DatabaseReport {
    /// What its files say, to be changed.
    pub(crate) fn local_mut(&mut self) -> Option<&mut LocalReport> {
        self.local.as_mut().map(Arc::make_mut)
    }
}
