//! The agent's own settings: every key of `streamgauge.toml` but `[[database]]`, with its default.
//!
//! To add an option: a field, the line that reads it with its default, and a line in the commented `streamgauge.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use tracing::level_filters::LevelFilter;

use super::drill::Drill;
use super::scratch::default_scratch;
use super::web::Web;
use super::{alerting, drill, metrics, objectives, receiver, web};
use crate::domain::alerting::Alerting;
use crate::domain::assess::costs::Costs;
use crate::domain::beacon::BeaconPolicy;
use crate::domain::limits::{BEACON_INTERVAL_MIN, SPOT_INTERVAL_MIN, SPOT_PAGES_MAX, VERIFICATIONS_MAX};
use crate::domain::shard::Shard;
use crate::domain::spot::SpotPolicy;
use crate::domain::target::Objectives;
use crate::domain::verification::{VerifyDepth, VerifyPolicy};
use crate::infrastructure::config::litestream::replica::Context;
use crate::infrastructure::config::value::paths::PathMapping;
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::process::host_name;
use crate::usecase::ports::{Metrics, Pace};

const MINUTE: Duration = Duration::from_secs(60);

/// Where history is kept when nothing is configured and the directory is there and writable.
const STORAGE_PATH: &str = "/var/lib/streamgauge";

const SHARD_ACCEPTED: &str = "one of several agents, counted from 0, such as 0/3, or hostname/3";

/// Litestream's default configuration file.
const LITESTREAM_CONFIG: &str = "/etc/litestream.yml";

/// Everything of `streamgauge.toml`, the environment and the flags that is not about one database.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub web: Web,
    /// `[storage]`: the directory for what should survive a restart. Default `/var/lib/streamgauge` where that is
    /// writable, else nothing is kept; an empty string switches it off.
    pub storage: Option<PathBuf>,
    pub log: Log,
    pub litestream: Litestream,
    pub requests: Requests,
    /// `[watch]`, `[replica]`, `[verify]` and `[beacon]`.
    pub pace: Pace,
    /// `[objectives]`: what is wanted of every database that does not say otherwise.
    pub objectives: Objectives,
    /// Prices, and `budget` of `[objectives]`.
    pub costs: Costs,
    pub drill: Drill,
    pub alerting: Alerting,
    /// Which of several agents this one is. Default: the only one.
    pub shard: Option<Shard>,
    /// `[metrics]`, without the profile, which is one of the objectives.
    pub metrics: Metrics,
}

impl Settings {
    /// The directory in which drills restore.
    pub fn drill_scratch(&self) -> PathBuf {
        let below = |path: &Path| path.join("drill");
        let configured = self.drill.scratch.clone().or_else(|| self.storage.as_deref().map(below));
        configured.unwrap_or_else(|| default_scratch(|name| std::env::var_os(name)))
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Default info.
    pub level: LevelFilter,
    /// Default logfmt.
    pub format: LogFormat,
}

/// The levels of the file and of `--log.level`.
pub const LOG_LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Logfmt,
    Json,
}

impl LogFormat {
    /// The words of the file and of `--log.format`.
    pub const WORDS: [(&'static str, Self); 2] = [("logfmt", Self::Logfmt), ("json", Self::Json)];
}

/// `[litestream]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Litestream {
    /// Configuration files of Litestream, absolute. Default `$LITESTREAM_CONFIG`, else `/etc/litestream.yml` if it is
    /// there.
    pub config: Vec<PathBuf>,
    /// Replace `$NAME` in them, as Litestream does without `-no-expand-env`. Default true.
    pub expand_env: bool,
    /// Where this process finds what Litestream calls by other paths.
    pub path_map: Vec<PathMapping>,
}

/// How stores are asked, from `[replica]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// For one request with its retries. Default 30 seconds.
    pub timeout: Duration,
    /// PEM file of additional certificate authorities for every store.
    pub ca_file: Option<PathBuf>,
}

/// Reads everything but `[[database]]`.
pub(crate) fn read(root: &mut Section<'_>, context: &Context<'_>) -> Settings {
    let web = web::read(root.section_or_empty("web"), context);
    let (profile, metrics) = metrics::read(root.section_or_empty("metrics"));
    let mut wanted = root.section_or_empty("objectives");
    let objectives = objectives::read(&mut wanted, Objectives { metrics: profile, ..Objectives::default() });
    let budget = wanted.number("budget", 0.0);
    let drill = drill::read(root.section_or_empty("drill"), &objectives, context);
    let mut litestream = root.section_or_empty("litestream");
    let mut replica = root.section_or_empty("replica");
    let discovery = litestream.interval("discovery-interval");
    let mut watch = root.section_or_empty("watch");
    let shard = watch.parsed("shard", SHARD_ACCEPTED, |text| shard(text, &host_name()));
    let pace = pace(root, &mut watch, &mut replica, discovery);
    Settings {
        alerting: Alerting {
            receivers: receiver::receivers(root, context),
            deadman: receiver::deadman(root, context),
            ..alerting::read(root, &web.listen_address)
        },
        web,
        storage: storage(root.section_or_empty("storage"), context),
        log: log(root.section_or_empty("log")),
        litestream: self::litestream(litestream, context),
        requests: Requests {
            timeout: replica.duration("timeout").unwrap_or(Duration::from_secs(30)),
            ca_file: replica.parsed("ca-file", "a readable file", |text| context.base.readable(text)),
        },
        pace,
        costs: Costs { prices: drill.policy.prices, budget, request_budget: replica.number("request-budget", 0.0) },
        drill,
        objectives,
        shard,
        metrics,
    }
}

/// Reads which of several agents this one is; `hostname` stands for the number at the end of the host's name, as in the
/// names of the pods of a StatefulSet.
fn shard(text: &str, host: &str) -> Result<Shard, String> {
    let Some(("hostname", count)) = text.split_once('/') else { return text.parse().map_err(str::to_owned) };
    let number = host.rsplit_once('-').and_then(|(_, number)| number.parse::<u32>().ok());
    let number = number.ok_or_else(|| format!("this host's name, {host}, has no number at the end"))?;
    format!("{number}/{count}").parse().map_err(|why| format!("shard {number} of {count}: {why}"))
}

fn storage(mut section: Section<'_>, context: &Context<'_>) -> Option<PathBuf> {
    let written = section.has("path");
    let path = section.parsed("path", "a path", |text| context.base.unless_empty(text)).flatten();
    let usable = || !written && access(STORAGE_PATH, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    path.or_else(|| usable().then(|| PathBuf::from(STORAGE_PATH)))
}

fn log(mut section: Section<'_>) -> Log {
    Log {
        level: section.choice("level", LOG_LEVELS.into_iter()).unwrap_or(LevelFilter::INFO),
        format: section.choice("format", LogFormat::WORDS.into_iter()).unwrap_or(LogFormat::Logfmt),
    }
}

fn litestream(mut section: Section<'_>, context: &Context<'_>) -> Litestream {
    let mut config = Vec::new();
    match section.texts("config", "paths of litestream.yml files") {
        Some(texts) => {
            for scalar in texts {
                match context.base.absolute(scalar.text) {
                    Ok(path) if config.contains(&path) => {
                        section.warning(scalar.place.problem("given twice").value(scalar.text));
                    }
                    Ok(path) => config.push(path),
                    Err(message) => section.problem(scalar.place.problem(message).value(scalar.text)),
                }
            }
        }
        None => config.extend(default_litestream_config(context)),
    }
    Litestream {
        config,
        expand_env: section.boolean("expand-env").unwrap_or(true),
        path_map: section.sections("path-map").into_iter().filter_map(path_mapping).collect(),
    }
}

fn default_litestream_config(context: &Context<'_>) -> Option<PathBuf> {
    match context.environment.get("LITESTREAM_CONFIG") {
        Some(path) if !path.is_empty() => context.base.absolute(path).ok(),
        _ => {
            context.base.depends_on(Path::new(LITESTREAM_CONFIG));
            Path::new(LITESTREAM_CONFIG).exists().then(|| PathBuf::from(LITESTREAM_CONFIG))
        }
    }
}

fn path_mapping(mut section: Section<'_>) -> Option<PathMapping> {
    const ACCEPTED: &str = "an absolute path";
    let mut absolute =
        |key: &'static str| {
            section.require(key, ACCEPTED);
            section.parsed(key, ACCEPTED, |text| {
                if text.starts_with('/') { Ok(PathBuf::from(text)) } else { Err("not absolute") }
            })
        };
    let (from, to) = (absolute("from"), absolute("to"));
    Some(PathMapping { from: from?, to: to? })
}

/// How often things are looked at, and what is done with them.
fn pace(
    root: &mut Section<'_>,
    watch: &mut Section<'_>,
    replica: &mut Section<'_>,
    discovery: Option<Duration>,
) -> Pace {
    let (interval, levels) = (replica.interval("interval"), replica.interval("level-interval"));
    let (reconcile, idle_reconcile) =
        (replica.interval("reconcile-interval"), replica.interval("idle-reconcile-interval"));
    let default = Pace::default();
    Pace {
        poll: watch.interval("poll-interval").unwrap_or(default.poll),
        sweep: watch.interval("sweep-interval").unwrap_or(default.sweep),
        directory: interval.unwrap_or(default.directory),
        bucket: interval.unwrap_or(default.bucket),
        idle: replica.interval("idle-interval").unwrap_or(default.idle),
        listing: replica.interval("listing-interval").unwrap_or(default.listing),
        levels: levels.unwrap_or(default.levels),
        bucket_levels: levels.unwrap_or(default.bucket_levels),
        reconcile: reconcile.unwrap_or(default.reconcile),
        // Who wants everything to be listed as often wants it of what is idle, too.
        idle_reconcile: idle_reconcile.or(reconcile).unwrap_or(default.idle_reconcile),
        grace: watch.duration("series-grace").unwrap_or(default.grace),
        discovery: discovery.unwrap_or(default.discovery),
        concurrency: replica.integer("concurrency", 1..=VERIFICATIONS_MAX).unwrap_or(default.concurrency),
        verify: verify(root.section_or_empty("verify")),
        beacon: beacon(root.section_or_empty("beacon")),
    }
}

/// `[beacon]`: whether this agent says in the bucket that it is there.
fn beacon(mut section: Section<'_>) -> Option<BeaconPolicy> {
    let enabled = section.boolean("enabled").unwrap_or(false);
    let interval = section.duration("interval").unwrap_or(MINUTE).max(BEACON_INTERVAL_MIN);
    let host = section.name("host");
    enabled.then(|| BeaconPolicy { interval, host: host.unwrap_or_else(host_name) })
}

/// `[verify]`: how much of the objects is read to prove that they are good.
fn verify(mut section: Section<'_>) -> VerifyPolicy {
    let default = VerifyPolicy::default();
    let enabled = section.boolean("enabled").unwrap_or(true);
    let spots = section.boolean("spot-checks").unwrap_or(true);
    let interval = section.duration("spot-interval").or(default.spot.interval).unwrap_or(SPOT_INTERVAL_MIN);
    VerifyPolicy {
        depth: if enabled { VerifyDepth::Content } else { VerifyDepth::None },
        directory: section.size("directory-content", 0).unwrap_or(default.directory),
        bucket: section.size("content", 0).unwrap_or(default.bucket),
        spot: SpotPolicy {
            interval: spots.then_some(interval.max(SPOT_INTERVAL_MIN)),
            pages: section.integer("spot-pages", 1..=SPOT_PAGES_MAX).unwrap_or(default.spot.pages),
        },
    }
}
