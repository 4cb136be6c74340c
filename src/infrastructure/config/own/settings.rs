//! The agent's own settings: every key of `streamgauge.toml` but `[[database]]`, with its default.
//!
//! To add an option: a field, the line that reads it with its default, and a line in the commented `streamgauge.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::alerting::Alerting;
use crate::domain::beacon::BeaconPolicy;
use crate::domain::limits::{BEACON_INTERVAL_MIN, SPOT_INTERVAL_MIN, SPOT_PAGES_MAX, VERIFICATIONS_MAX};
use crate::domain::spot::SpotPolicy;
use crate::domain::target::{DISK_USED_PERCENT, LitestreamVersion, Permissions};
use crate::domain::verification::{VerifyDepth, VerifyPolicy};

use crate::infrastructure::config::own::alerting;
use crate::infrastructure::config::own::database::{NAME_ACCEPTED, label};
use crate::infrastructure::config::own::drill::{self, Drill};
use crate::infrastructure::config::own::permissions;
use crate::infrastructure::config::own::receiver;
use crate::infrastructure::config::own::scratch::default_scratch;
use crate::infrastructure::config::value::paths::{Base, PathMapping};
use crate::infrastructure::config::value::section::{Scalar, Section};

const MINUTE: Duration = Duration::from_secs(60);

/// The verification interval of a busy database whose replica is a directory.
pub const DIRECTORY_INTERVAL: Duration = Duration::from_secs(2);

/// The verification interval of a busy database whose replica is in a bucket, where listings cost money: one every 10
/// seconds is 8640 a day, about $0.043 on S3.
pub const BUCKET_INTERVAL: Duration = Duration::from_secs(10);

/// Where history is kept when nothing is configured and the directory is there and writable.
pub const STORAGE_PATH: &str = "/var/lib/streamgauge";

/// Everything of `streamgauge.toml`, the environment and the flags that is not about one database.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub web: Web,
    pub storage: Storage,
    pub log: Log,
    pub litestream: Litestream,
    pub watch: Watch,
    pub replica: Replica,
    pub verify: VerifyPolicy,
    pub objectives: ObjectiveDefaults,
    pub drill: Drill,
    pub alerting: Alerting,
    /// `None`: nothing is ever written to a store.
    pub beacon: Option<BeaconPolicy>,
}

impl Settings {
    /// The directory in which drills restore.
    pub fn drill_scratch(&self) -> PathBuf {
        let below = |path: &Path| path.join("drill");
        let configured = self.drill.scratch.clone().or_else(|| self.storage.path.as_deref().map(below));
        configured.unwrap_or_else(|| default_scratch(|name| std::env::var_os(name)))
    }
}

/// `[web]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where HTTP is served. Default `127.0.0.1:10099`.
    pub listen_address: Vec<SocketAddr>,
    /// Names under which the page, the report and reloads may be asked for. Default none but those that nobody else can
    /// have.
    pub allowed_hosts: Vec<String>,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Directory for what should survive a restart. Default [`STORAGE_PATH`] where that is writable, else nothing is
    /// kept; an empty string switches it off.
    pub path: Option<PathBuf>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Default info.
    pub level: LogLevel,
    /// Default logfmt.
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub const ALL: &'static [Self] = &[Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Logfmt,
    Json,
}

impl LogFormat {
    pub const ALL: &'static [Self] = &[Self::Logfmt, Self::Json];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logfmt => "logfmt",
            Self::Json => "json",
        }
    }
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
    /// How often the files and their `dir` entries are read again. Default 1 minute.
    pub discovery_interval: Duration,
}

/// `[watch]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How often databases that changed are read. Default 1 second.
    pub poll_interval: Duration,
    /// How often each database is read although nothing said that it changed. Default 1 minute.
    pub sweep_interval: Duration,
    /// How long a database that is no longer configured keeps its series. Default 5 minutes.
    pub series_grace: Duration,
}

/// `[replica]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// At most this often is the replica of a busy database verified. Absent: by kind, [`DIRECTORY_INTERVAL`] or
    /// [`BUCKET_INTERVAL`].
    pub interval: Option<Duration>,
    /// How often the replica of an idle, proven database is verified. Default 5 minutes.
    pub idle_interval: Duration,
    /// How often levels above 0 are listed. Default 1 minute.
    pub level_interval: Duration,
    /// How often everything is listed again, which notices deletions. Default 1 hour.
    pub reconcile_interval: Duration,
    /// For one request with its retries. Default 30 seconds.
    pub timeout: Duration,
    /// Verifications at the same time. Default 32.
    pub concurrency: usize,
    /// PEM file of additional certificate authorities for every store.
    pub ca_file: Option<PathBuf>,
}

/// `[objectives]`: what is wanted of every database that does not say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveDefaults {
    /// Default 5 minutes.
    pub rpo: Duration,
    /// Absent: what the database's `litestream.yml` says.
    pub retention: Option<Duration>,
    /// Absent: what the database's `litestream.yml` says.
    pub snapshot_interval: Option<Duration>,
    /// How long a restore may take. Absent: as long as it needs.
    pub rto: Option<Duration>,
    /// The Litestream that would restore. Absent: any that can.
    pub restorer: Option<LitestreamVersion>,
    /// Dollars a month for storing all replicas and reading them, drills excepted. Absent: whatever it costs.
    pub budget: Option<f64>,
    /// Modes and owner of the files. Default 0600 or 0640, and one owner for all.
    pub permissions: Permissions,
    /// Percent. Default 80.
    pub disk_used_percent: u8,
}

/// What reading the settings needs to know of the outside.
pub(crate) struct Context<'a> {
    pub(crate) base: &'a Base,
    /// The value of `LITESTREAM_CONFIG`.
    pub(crate) litestream_config: Option<&'a str>,
}

/// Litestream's default configuration file.
const LITESTREAM_CONFIG: &str = "/etc/litestream.yml";

pub(crate) fn read(root: &mut Section<'_>, context: &Context<'_>) -> Settings {
    let objectives = objectives(root.section_or_empty("objectives"));
    let web = web(root.section_or_empty("web"));
    Settings {
        alerting: Alerting {
            receivers: receiver::receivers(root, context),
            deadman: receiver::deadman(root, context),
            ..alerting::read(root, &web.listen_address)
        },
        web,
        storage: storage(root.section_or_empty("storage"), context),
        log: log(root.section_or_empty("log")),
        litestream: litestream(root.section_or_empty("litestream"), context),
        watch: watch(root.section_or_empty("watch")),
        replica: replica(root.section_or_empty("replica"), context),
        drill: drill::read(root.section_or_empty("drill"), &objectives, context),
        verify: verify(root.section_or_empty("verify")),
        beacon: beacon(root.section_or_empty("beacon")),
        objectives,
    }
}

fn web(mut section: Section<'_>) -> Web {
    const ACCEPTED: &str = "address:port such as 127.0.0.1:10099, [::1]:10099 or, for every IPv4 address, :10099";
    let mut listen_address = Vec::new();
    for scalar in section.texts("listen-address", ACCEPTED).unwrap_or_else(|| default("127.0.0.1:10099")) {
        match address(scalar.text) {
            Some(address) if listen_address.contains(&address) => {
                section.problem(scalar.place.problem("a second time").value(scalar.text).accepted("each address once"));
            }
            Some(address) => listen_address.push(address),
            None => section
                .problem(scalar.place.problem("not an address with a port").value(scalar.text).accepted(ACCEPTED)),
        }
    }
    const NAME: &str = "a host name such as db1.example.org, without a port";
    let mut allowed_hosts = Vec::new();
    for scalar in section.texts("allowed-hosts", NAME).unwrap_or_default() {
        match scalar.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            true if !scalar.text.is_empty() => allowed_hosts.push(scalar.text.to_owned()),
            _ => section.problem(scalar.place.problem("not a host name").value(scalar.text).accepted(NAME)),
        }
    }
    section.finish();
    Web { listen_address, allowed_hosts }
}

fn default(text: &str) -> Vec<Scalar<'_>> {
    vec![Scalar::default_of(text)]
}

fn address(text: &str) -> Option<SocketAddr> {
    let text = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.replacen("localhost:", "127.0.0.1:", 1),
    };
    text.parse().ok()
}

fn storage(mut section: Section<'_>, context: &Context<'_>) -> Storage {
    let path = if section.has("path") {
        path(&mut section, "path", context)
    } else {
        section.ignore(&["path"]);
        let writable = rustix::fs::access(STORAGE_PATH, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        writable.is_ok().then(|| PathBuf::from(STORAGE_PATH))
    };
    section.finish();
    Storage { path }
}

pub(crate) fn path(section: &mut Section<'_>, key: &'static str, context: &Context<'_>) -> Option<PathBuf> {
    let resolve = |text: &str| {
        if text.is_empty() { Ok(None) } else { context.base.absolute(text).map(Some).map_err(str::to_owned) }
    };
    section.parsed(key, "a path", resolve).flatten()
}

/// A file that has to be readable, so that a typing error shows at once.
pub(crate) fn readable_file(section: &mut Section<'_>, key: &'static str, base: &Base) -> Option<PathBuf> {
    section.parsed(key, "a readable file", |text| {
        let path = base.absolute(text)?;
        readable(&path)?;
        Ok(path)
    })
}

fn readable(path: &Path) -> Result<(), String> {
    let file = std::fs::metadata(path).map_err(|error| crate::domain::reason::Reason::from(error).message)?;
    if !file.is_file() {
        return Err("not a file".to_owned());
    }
    rustix::fs::access(path, rustix::fs::Access::READ_OK).map_err(|_| "not readable".to_owned())
}

fn log(mut section: Section<'_>) -> Log {
    let level = choice(&mut section, "level", LogLevel::ALL, LogLevel::as_str).unwrap_or(LogLevel::Info);
    let format = choice(&mut section, "format", LogFormat::ALL, LogFormat::as_str).unwrap_or(LogFormat::Logfmt);
    section.finish();
    Log { level, format }
}

/// One of a closed set of words.
pub(crate) fn choice<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Option<T> {
    let accepted = all.iter().map(|choice| name(*choice)).collect::<Vec<_>>().join(", ");
    section.parsed(key, &accepted, |text| {
        all.iter().copied().find(|choice| name(*choice) == text).ok_or_else(|| "not one of the choices".to_owned())
    })
}

fn litestream(mut section: Section<'_>, context: &Context<'_>) -> Litestream {
    let mut config = Vec::new();
    match section.texts("config", "paths of litestream.yml files") {
        Some(texts) => {
            for scalar in texts {
                match context.base.absolute(scalar.text) {
                    Ok(path) if config.contains(&path) => {
                        section.warning(scalar.place.problem("a second time").value(scalar.text));
                    }
                    Ok(path) => config.push(path),
                    Err(message) => section.problem(scalar.place.problem(message).value(scalar.text)),
                }
            }
        }
        None => config.extend(default_litestream_config(context)),
    }
    let litestream = Litestream {
        config,
        expand_env: section.boolean("expand-env").unwrap_or(true),
        path_map: section.sections("path-map").into_iter().filter_map(path_mapping).collect(),
        discovery_interval: section.interval("discovery-interval").unwrap_or(MINUTE),
    };
    section.finish();
    litestream
}

fn default_litestream_config(context: &Context<'_>) -> Option<PathBuf> {
    match context.litestream_config {
        Some(path) if !path.is_empty() => context.base.absolute(path).ok(),
        _ => Path::new(LITESTREAM_CONFIG).exists().then(|| PathBuf::from(LITESTREAM_CONFIG)),
    }
}

fn path_mapping(mut section: Section<'_>) -> Option<PathMapping> {
    let mut absolute = |key: &'static str| {
        if !section.has(key) {
            section.problem(section.place_of(key).problem("missing").accepted("an absolute path"));
        }
        section.parsed(key, "an absolute path", |text| {
            if text.starts_with('/') { Ok(PathBuf::from(text)) } else { Err("not absolute".to_owned()) }
        })
    };
    let (from, to) = (absolute("from"), absolute("to"));
    section.finish();
    Some(PathMapping { from: from?, to: to? })
}

fn watch(mut section: Section<'_>) -> Watch {
    let watch = Watch {
        poll_interval: section.interval("poll-interval").unwrap_or(Duration::from_secs(1)),
        sweep_interval: section.interval("sweep-interval").unwrap_or(MINUTE),
        series_grace: section.duration("series-grace").unwrap_or(5 * MINUTE),
    };
    section.finish();
    watch
}

fn replica(mut section: Section<'_>, context: &Context<'_>) -> Replica {
    let replica = Replica {
        interval: section.interval("interval"),
        idle_interval: section.interval("idle-interval").unwrap_or(5 * MINUTE),
        level_interval: section.interval("level-interval").unwrap_or(MINUTE),
        reconcile_interval: section.interval("reconcile-interval").unwrap_or(60 * MINUTE),
        timeout: section.duration("timeout").unwrap_or(Duration::from_secs(30)),
        concurrency: section.integer("concurrency", 1, VERIFICATIONS_MAX).unwrap_or(VERIFICATIONS_MAX),
        ca_file: readable_file(&mut section, "ca-file", context.base),
    };
    section.finish();
    replica
}

/// `[beacon]`: whether this agent says in the bucket that it is there.
fn beacon(mut section: Section<'_>) -> Option<BeaconPolicy> {
    let enabled = section.boolean("enabled").unwrap_or(false);
    let interval = section.duration("interval").unwrap_or(MINUTE).max(BEACON_INTERVAL_MIN);
    let host = section.parsed("host", NAME_ACCEPTED, label);
    section.finish();
    enabled.then(|| BeaconPolicy { interval, host: host.unwrap_or_else(host_name) })
}

/// This host's name, as the kernel has it.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    label(name.trim()).unwrap_or_else(|_| "unnamed".to_owned())
}

/// `[verify]`: how much of the objects is read to prove that they are good.
fn verify(mut section: Section<'_>) -> VerifyPolicy {
    let default = VerifyPolicy::default();
    let enabled = section.boolean("enabled").unwrap_or(true);
    let spots = section.boolean("spot-checks").unwrap_or(true);
    let interval = section.duration("spot-interval").or(default.spot.interval).unwrap_or(SPOT_INTERVAL_MIN);
    let pages = section.integer("spot-pages", 1, SPOT_PAGES_MAX as usize);
    let policy = VerifyPolicy {
        depth: if enabled { VerifyDepth::Content } else { VerifyDepth::None },
        directory: section.size("directory-content", 0).unwrap_or(default.directory),
        bucket: section.size("content", 0).unwrap_or(default.bucket),
        spot: SpotPolicy {
            interval: spots.then_some(interval.max(SPOT_INTERVAL_MIN)),
            pages: pages.and_then(|pages| pages.try_into().ok()).unwrap_or(default.spot.pages),
        },
    };
    section.finish();
    policy
}

/// `restorer`: a release of Litestream.
pub(crate) fn release(section: &mut Section<'_>) -> Option<LitestreamVersion> {
    section.parsed("restorer", "a release of Litestream such as 0.5.15", |text| text.parse().map_err(str::to_owned))
}

/// `disk-used-percent`
pub(crate) fn disk_used_percent(section: &mut Section<'_>) -> Option<u8> {
    section.integer("disk-used-percent", 1, 100).and_then(|percent| percent.try_into().ok())
}

fn objectives(mut section: Section<'_>) -> ObjectiveDefaults {
    let objectives = ObjectiveDefaults {
        rpo: section.duration("rpo").unwrap_or(5 * MINUTE),
        retention: section.duration("retention"),
        snapshot_interval: section.duration("snapshot-interval"),
        rto: section.duration("rto"),
        restorer: release(&mut section),
        budget: section.number("budget", 0.0),
        permissions: permissions::read(&mut section).or(&Permissions::default()),
        disk_used_percent: disk_used_percent(&mut section).unwrap_or(DISK_USED_PERCENT),
    };
    section.finish();
    objectives
}
