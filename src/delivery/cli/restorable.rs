//! `streamgauge restorable`: to which instants a replica can be restored.

mod table;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use futures_util::StreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::sources::{Sources, stores, with_url_hint};
use super::{SourceArgs, output, run, when};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaTarget, Target};
use crate::domain::timeline::TimelineReport;
use crate::infrastructure::clock::SystemClock;
use crate::infrastructure::config::{Log, LogFormat, LogLevel};
use crate::usecase::ports::{Clock, ReplicaStore, Stores};
use crate::usecase::restorable::{Answer, Counted, contents};
use crate::usecase::watch::named;

pub const AFTER_HELP: &str = "\
Without --at, the map: since when, how exactly (what is older is compacted, so that fewer states of it are left), and the \
gaps, with what is missing. It is Litestream's own plan (0.5.8 and later, or 0.3.13) for every instant. The caveats say \
what other releases make of the same replica.

With --at, the state that a restore to that instant gives: its position, when it was replicated, the objects it is made \
of; or what blocks it. On S3 a listing has the time of upload, so that the headers of a few files are read.

Exit code: 0 restorable, 2 not restorable or blocked (without --at: anywhere in the map), 3 unknown, because a replica \
could not be listed.

JSON: an array, one object a replica: database (null for a URL), replica, url, layout, listed_at, times (listing or \
header), requests, reason (why it is unknown) and timeline {spans [{from, until, points, resolution_seconds, \
typical_seconds, blocked {after, before, key, detail}}], gaps, largest_gap_seconds, caveats [{releases, detail}], since, \
listed_at, cut_off_at}; with --at also at and answer {restorable, position, state_at, older_seconds, objects [{key, \
size, created}], bytes, blocked}.

Examples:
  streamgauge restorable
  streamgauge restorable orders --at '2026-11-22 08:30'
  streamgauge restorable s3://backups/orders --at 2h --format json";

#[derive(Args, Debug)]
pub struct RestorableArgs {
    /// Configured databases by name or path, or URLs of replicas [default: all]
    #[arg(value_name = "DATABASE|URL")]
    pub places: Vec<String>,

    /// An instant: 2026-11-22T08:30:00Z, '2026-11-22 08:30' in local time, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,

    /// Only the replica of this name, where a database has several
    #[arg(long, value_name = "NAME")]
    pub replica: Option<String>,

    /// Do without this object, as if it were damaged: what would be left? [repeatable]
    #[arg(long, value_name = "KEY")]
    pub without: Vec<String>,

    #[arg(long, value_enum, default_value_t = RestorableFormat::Table)]
    pub format: RestorableFormat,

    #[command(flatten)]
    pub sources: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RestorableFormat {
    Table,
    Json,
}

/// One replica and what was found of it: an element of the JSON array.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Found {
    database: Option<String>,
    replica: String,
    url: String,
    layout: Option<&'static str>,
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
    #[serde(skip)]
    retention: Option<std::time::Duration>,
    #[serde(skip)]
    uploaded: bool,
}

impl Found {
    /// The exit code: 0 restorable, 2 not, 3 unknown.
    fn code(&self) -> u8 {
        match (&self.timeline, self.at, &self.answer) {
            (None, ..) | (_, Some(_), None) => 3,
            (_, Some(_), Some(answer)) => {
                if answer.restorable {
                    0
                } else {
                    2
                }
            }
            (Some(map), None, _) => {
                if map.gaps == 0 && map.restorable_now() {
                    0
                } else {
                    2
                }
            }
        }
    }
}

/// What is to be looked at.
struct Place {
    target: Option<Target>,
    replica: ReplicaTarget,
}

/// Prints the coverage map.
///
/// # Errors
///
/// Problems of the command line and of the configuration. What kept a replica from being listed is in the output.
pub fn main(args: &RestorableArgs) -> Result<ExitCode, Reason> {
    super::logging::init(&Log { level: LogLevel::Error, format: LogFormat::Logfmt });
    let clock = SystemClock::start();
    let at = args.at.as_deref().map(|text| when::at(text, clock.now().wall, &TimeZone::system())).transpose()?;
    let (places, stores, concurrency) = places(args)?;
    let damaged: BTreeSet<String> = args.without.iter().cloned().collect();
    let looks = places.into_iter().map(|place| look(stores.as_ref(), &clock, place, at, &damaged));
    let found: Vec<Found> =
        run::block_on(async { futures_util::stream::iter(looks).buffered(concurrency.max(1)).collect().await })?;
    match args.format {
        RestorableFormat::Table => output::print(&table::table(&found, output::colour(), table::width()))?,
        RestorableFormat::Json => {
            let json = serde_json::to_string_pretty(&found)
                .map_err(|error| Reason::new(ReasonKind::Failed, format!("write json: {error}")))?;
            output::print(&format!("{json}\n"))?;
        }
    }
    // What is known to be broken weighs more than what is not known.
    let codes: Vec<u8> = found.iter().map(Found::code).collect();
    let code = [2, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(if codes.is_empty() { 3 } else { 0 });
    Ok(ExitCode::from(code))
}

type Picked = (Vec<Place>, Arc<crate::infrastructure::store::Stores>, usize);

fn places(args: &RestorableArgs) -> Result<Picked, Reason> {
    let sources = Sources::new(&args.sources);
    let (urls, names): (Vec<String>, Vec<String>) =
        args.places.iter().cloned().partition(|place| place.contains("://"));
    let (mut places, mut settings) = (Vec::new(), None);
    for url in &urls {
        let picked = sources.pick(url, None)?;
        settings = Some(picked.settings);
        places.push(Place { target: None, replica: picked.replica });
    }
    if urls.is_empty() || !names.is_empty() {
        let loaded = sources.read()?;
        settings = Some(loaded.settings);
        for target in named(loaded.targets, &names).map_err(|reason| with_url_hint(reason, &names))? {
            let wanted = |replica: &&ReplicaTarget| args.replica.as_ref().is_none_or(|name| *name == replica.name);
            let replicas = target.replicas.iter().filter(wanted);
            places.extend(replicas.map(|replica| Place { target: Some(target.clone()), replica: replica.clone() }));
        }
    }
    let settings = settings.ok_or_else(|| Reason::new(ReasonKind::Misconfigured, "there is nothing to look at"))?;
    if places.is_empty() {
        let reason = Reason::new(ReasonKind::NotFound, "no replica is configured that was asked for");
        return Err(reason.with_hint("streamgauge config check lists databases and their replicas"));
    }
    Ok((places, stores(&settings), settings.replica.concurrency))
}

async fn look(
    stores: &crate::infrastructure::store::Stores,
    clock: &SystemClock,
    place: Place,
    at: Option<Timestamp>,
    damaged: &BTreeSet<String>,
) -> Found {
    let Place { target, replica } = place;
    let mut found = Found {
        database: target.as_ref().map(|target| target.name.0.clone()),
        replica: replica.name.clone(),
        url: replica.location.url(),
        layout: None,
        listed_at: clock.now().wall,
        times: "listing",
        requests: 0,
        reason: None,
        timeline: None,
        at,
        answer: None,
        retention: target.and_then(|target| target.objectives.retention),
        uploaded: false,
    };
    let store = match stores.open(&replica.location) {
        Ok(store) => store,
        Err(reason) => return Found { reason: Some(reason), ..found },
    };
    let counted = Counted::new(store.as_ref());
    if let Err(reason) = ask(&counted, &replica, damaged, &mut found).await {
        found.reason = Some(reason);
    }
    found.requests = counted.requests();
    found
}

async fn ask(
    store: &dyn ReplicaStore,
    replica: &ReplicaTarget,
    damaged: &BTreeSet<String>,
    found: &mut Found,
) -> Result<(), Reason> {
    let contents = contents(store, damaged).await?;
    found.layout = contents.layout().map(|layout| layout.as_str());
    found.uploaded = contents.uploaded();
    let map = found.timeline.insert(contents.map(damaged, replica.location.store(), found.listed_at));
    let Some(at) = found.at else { return Ok(()) };
    let mut answer = contents.ask(store, damaged, at).await?;
    if found.uploaded {
        found.times = "header";
    }
    if answer.restorable {
        // What is missing may have been made before the instant, although all that is known to be there is reached.
        answer.blocked = map.span_at(at).and_then(|span| span.blocked.clone());
        answer.restorable = answer.blocked.is_none();
    }
    found.answer = Some(answer);
    Ok(())
}
