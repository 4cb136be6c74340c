//! `streamgauge restorable`: to which instants a replica can be restored.

mod table;

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tracing::level_filters::LevelFilter;

use super::args::{Format, SourceArgs, WithoutArgs};
use super::runtime::block_on;
use super::sources::{Picked, Sources, stores};
use super::{logging, output, when};
use crate::delivery::render::json::pretty;
use crate::domain::litestream::{Layout, LevelKeys, ObjectName};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::ReplicaTarget;
use crate::domain::timeline::TimelineReport;
use crate::domain::verdict::Word;
use crate::domain::verification::ObjectFinding;
use crate::infrastructure::clock::SystemClock;
use crate::infrastructure::journal;
use crate::usecase::ports::{Clock, ReplicaStore, Stores};
use crate::usecase::remembered::remembered_damage;
use crate::usecase::restorable::{Answer, Counted, contents};

pub const AFTER_HELP: &str = "\
Without --at, prints the map: how far back restores reach, how precisely (older history is compacted, so fewer of its \
states are left), and where the gaps are and what is missing. For every point in time, it follows Litestream's own \
plan (0.5.8 and later, or 0.3.13). The caveats say what other releases make of the same replica.

With --at, prints the state that a restore to that time gives (its position, when it was replicated, and the objects \
that it is made of), or what blocks it. An S3 listing has only the times of uploads, so the headers of a few files are \
read as well; if the files are a copy and have the time of copying, all headers are. In v0.3, the name of a segment \
does not say where it ends: a segment that is missing inside a WAL index is not noticed here, and the JSON says so \
(named).

Contents are not read. If the state of this host's agent can be read, the objects that it has found damaged are named, \
and left out as with --without.

Exit code: 0 restorable, 2 not restorable or blocked (without --at: anywhere in the map), 3 unknown because a replica \
could not be listed.

JSON: an array with one object per replica: status (restorable, not_restorable, unknown), database (null for a URL), \
replica, url, layout, listed_at, times (listing or header), requests, named (v0.3: as far as names show), damaged \
[{kind, key, detail, seen_at, needed}] (null: no agent of this host reads its objects), reason (why it is unknown) and \
timeline {spans [{from, until, points, resolution_seconds, typical_seconds, blocked {after, before, key, detail}}], \
gaps, largest_gap_seconds, caveats [{releases, detail}], since, listed_at, cut_off_at}; with --at also at and answer \
{restorable, position, state_at, older_seconds, objects [{key, size, created}], bytes, blocked}.

Examples:
  streamgauge restorable
  streamgauge restorable orders --at '2026-11-22 08:30'
  streamgauge restorable s3://backups/orders --at 2h --format json";

#[derive(Args, Debug)]
pub struct RestorableArgs {
    /// Configured databases by name or path, or URLs of replicas [default: all]
    #[arg(value_name = "DATABASE|URL")]
    pub places: Vec<String>,

    /// A point in time: 2026-11-22T08:30:00Z, '2026-11-22 08:30' in local time, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,

    /// Only the replica of this name, if a database has several
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,

    #[command(flatten)]
    pub without: WithoutArgs,

    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    #[command(flatten)]
    pub sources: SourceArgs,
}

/// One replica and what was found of it: an element of the JSON array.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Found {
    status: Standing,
    database: Option<String>,
    replica: String,
    url: String,
    layout: Option<Layout>,
    listed_at: Timestamp,
    /// Whose times they are: `listing` or `header`.
    times: &'static str,
    requests: u64,
    /// Why it is unknown.
    reason: Option<Reason>,
    timeline: Option<TimelineReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    /// What the agent of this host knows to be damaged, and restores do without; `None`: it says nothing of this replica.
    damaged: Option<Vec<ObjectFinding>>,
    /// Only names tell: of v0.3, whether segments follow each other inside a WAL index takes reading them.
    named: bool,
    #[serde(skip)]
    retention: Option<std::time::Duration>,
    #[serde(skip)]
    uploaded: bool,
    /// How much later than Litestream made it the oldest file was uploaded.
    #[serde(skip)]
    late: Option<SignedDuration>,
    #[serde(skip)]
    copied: bool,
}

/// The answer to a question about a replica, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    Restorable,
    NotRestorable,
    #[default]
    Unknown,
}

impl Found {
    fn standing(&self) -> Standing {
        let restorable = match (&self.timeline, self.at, &self.answer) {
            (None, ..) | (_, Some(_), None) => return Standing::Unknown,
            (_, Some(_), Some(answer)) => answer.restorable,
            (Some(map), None, _) => map.gaps == 0 && map.restorable_now(),
        };
        if restorable { Standing::Restorable } else { Standing::NotRestorable }
    }
}

/// The worst standing decides. With nothing looked at, the code is that of unknown.
fn exit_code(found: &[Found]) -> u8 {
    let words = found.iter().map(|found| match found.status {
        Standing::NotRestorable => Word::Critical,
        Standing::Unknown => Word::Unknown,
        Standing::Restorable => Word::Ok,
    });
    words.max().unwrap_or(Word::Unknown).exit_code()
}

/// Prints the coverage map.
///
/// # Errors
///
/// Problems of the command line and of the configuration. What kept a replica from being listed is in the output.
pub fn main(args: &RestorableArgs) -> Result<ExitCode, Reason> {
    logging::init_from(LevelFilter::ERROR);
    let clock = SystemClock::start();
    let at = args.at.as_deref().map(|text| when::at(text, clock.now().wall(), &TimeZone::system())).transpose()?;
    let (settings, picked) = Sources::new(&args.sources).pick(&args.places, args.replica.as_deref())?;
    if picked.is_empty() {
        let reason = Reason::new(ReasonKind::NotFound, "none of these replicas is configured");
        let command = args.sources.command("config check");
        return Err(reason.with_hint(format!("`{command}` lists databases and their replicas")));
    }
    let (stores, concurrency) = (stores(&settings), settings.pace.concurrency);
    let saved = settings.storage.as_deref().map(journal::peek).unwrap_or_default();
    // Which of the two a replica's store has is known when it is listed.
    let keys = |name: &ObjectName| [LevelKeys::Plain, LevelKeys::Hex].map(|keys| name.key(keys));
    let without: BTreeSet<String> = args.without.without.iter().flat_map(keys).collect();
    let looks = picked.into_iter().map(|picked| {
        let damaged = remembered_damage(&saved, &picked.replica.location);
        look(stores.as_ref(), &clock, picked, at, damaged, without.clone())
    });
    let found: Vec<Found> =
        block_on(async { futures_util::stream::iter(looks).buffered(concurrency.max(1)).collect().await })?;
    match args.format {
        Format::Table => output::print(&table::table(&found, output::colour(), output::room(true)))?,
        Format::Json => output::print(&pretty(&found)?)?,
    }
    Ok(ExitCode::from(exit_code(&found)))
}

async fn look(
    stores: &crate::infrastructure::store::Stores,
    clock: &SystemClock,
    picked: Picked,
    at: Option<Timestamp>,
    damaged: Option<Vec<ObjectFinding>>,
    mut without: BTreeSet<String>,
) -> Found {
    let Picked { target, replica } = picked;
    without.extend(damaged.iter().flatten().map(|finding| finding.key.clone()));
    let mut found = Found {
        database: target.as_ref().map(|target| target.name.to_string()),
        replica: replica.name.clone(),
        url: replica.location.url(),
        listed_at: clock.now().wall(),
        times: "listing",
        at,
        damaged,
        retention: target.and_then(|target| target.objectives.retention),
        ..Found::default()
    };
    let store = match stores.open(&replica.location) {
        Ok(store) => store,
        Err(reason) => return Found { reason: Some(reason), ..found },
    };
    let counted = Counted::new(store.as_ref());
    if let Err(reason) = ask(&counted, &replica, &without, &mut found).await {
        found.reason = Some(reason);
    }
    found.requests = counted.requests();
    found.status = found.standing();
    found
}

async fn ask(
    store: &dyn ReplicaStore,
    replica: &ReplicaTarget,
    damaged: &BTreeSet<String>,
    found: &mut Found,
) -> Result<(), Reason> {
    let contents = contents(store, damaged).await?;
    found.layout = contents.layout();
    (found.uploaded, found.late, found.copied) = (contents.uploaded(), contents.late(), contents.copied());
    found.named = found.layout == Some(Layout::V3);
    if found.copied {
        found.times = "header";
    }
    let map = found.timeline.insert(contents.map(damaged, replica.location.kind(), found.listed_at));
    let Some(at) = found.at else { return Ok(()) };
    let mut answer = contents.ask(store, damaged, at).await?;
    if found.uploaded {
        found.times = "header";
    }
    if answer.restorable {
        // What is missing may have been made before the instant, although all that is known to be there is reached.
        answer.blocked = map.span_at(at).and_then(|span| span.blocked.as_deref().cloned());
        answer.restorable = answer.blocked.is_none();
    }
    found.answer = Some(answer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::sample;

    /// A replica of which this was found, asked for the map or for an instant.
    fn found(status: Standing, asked: bool) -> Found {
        let now = sample::now();
        let report = sample::healthy("app");
        let mut map = report.replicas[0].timeline.as_deref().cloned().unwrap();
        if status == Standing::NotRestorable {
            (map.gaps, map.largest_gap_seconds) = (1, Some(60.0));
        } else {
            (map.gaps, map.largest_gap_seconds) = (0, None);
            map.spans.retain(|span| span.blocked.is_none());
        }
        let unknown = Reason::new(ReasonKind::Denied, "list s3://backups/app: access denied");
        let answer = Answer { restorable: status == Standing::Restorable, ..Answer::default() };
        let mut found = Found {
            database: Some("app".to_owned()),
            replica: "s3".to_owned(),
            url: "s3://backups/app".to_owned(),
            listed_at: now,
            times: "listing",
            requests: 1,
            reason: (status == Standing::Unknown).then_some(unknown),
            timeline: (status != Standing::Unknown).then_some(map),
            at: asked.then_some(now),
            answer: Some(answer).filter(|_| asked && status != Standing::Unknown),
            ..Found::default()
        };
        found.status = found.standing();
        found
    }

    /// The standing that a line of the table stands for.
    fn printed(line: &str) -> Standing {
        match () {
            () if line.contains("  unknown: ") => Standing::Unknown,
            () if line.contains("  restorable: ") || line.contains("; no gaps") => Standing::Restorable,
            () => Standing::NotRestorable,
        }
    }

    #[test]
    fn exit_code_table_and_json_agree_on_every_combination() {
        let standings = [Standing::Restorable, Standing::NotRestorable, Standing::Unknown];
        for (set, asked) in (0..1_u8 << standings.len()).flat_map(|set| [(set, false), (set, true)]) {
            let some: Vec<_> = (0..).zip(standings).filter(|(bit, _)| set >> bit & 1 == 1).collect();
            let founds: Vec<Found> = some.iter().map(|(_, standing)| found(*standing, asked)).collect();
            let wanted: Vec<_> = some.iter().map(|(_, standing)| *standing).collect();
            let expected = match () {
                () if wanted.contains(&Standing::NotRestorable) => 2,
                () if wanted.is_empty() || wanted.contains(&Standing::Unknown) => 3,
                () => 0,
            };
            assert_eq!(exit_code(&founds), expected, "{wanted:?}");
            // A line each, as of many replicas.
            let lines: Vec<_> = founds.iter().map(|found| table::table(&vec![found.clone(); 6], false, 80)).collect();
            let said: Vec<_> = lines.iter().map(|lines| printed(lines.lines().next().unwrap())).collect();
            assert_eq!(said, wanted, "{lines:?}");
            let json = serde_json::to_value(&founds).unwrap();
            let statuses: Vec<_> = json.as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
            assert_eq!(statuses, wanted.iter().map(|one| serde_json::to_value(one).unwrap()).collect::<Vec<_>>());
        }
    }
}
