//! `[drill]`, `[database.drill]` and `[[database.probe]]`: when restores are rehearsed, and how.

use std::collections::HashSet;
use std::path::PathBuf;

use cronexpr::{FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::drill::schedule::DrillLimits;
use crate::domain::drill::{DrillPolicy, DrillProbe, DrillSchedule, Expectation, Integrity};
use crate::domain::limits::{
    DRILL_FULL_EVERY_MAX, DRILL_MEMORY_BYTES_MIN, DRILL_PROBES_MAX, DRILL_QUERY_BYTES_MAX, DRILL_TIMEOUT_MAX,
};
use crate::domain::price::ConfiguredPrices;
use crate::domain::target::Objectives;
use crate::infrastructure::config::litestream::replica::Context;
use crate::infrastructure::config::value::label;
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::config::value::times::{WINDOW_ACCEPTED, window};

/// Bytes that drills from buckets may download in 24 hours, so that no bill comes as a surprise.
const DAILY_DOWNLOAD: u64 = 5 << 30;

const SCHEDULE_ACCEPTED: &str =
    "five fields and optionally a time zone, such as 0 3 * * * or 0 3 * * SUN Europe/Berlin";

/// `[drill]`
#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    /// Where drills restore. Absent: [`Settings::drill_scratch`](super::super::Settings::drill_scratch) says where.
    pub scratch: Option<PathBuf>,
    /// By default at any time, and 5 GiB a day: at the dearest prices 14 dollars a month.
    pub limits: DrillLimits,
    /// How a replica is drilled of which nothing else is said.
    pub policy: DrillPolicy,
    /// The schedule of a database that is drilled although the others are not.
    schedule: DrillSchedule,
}

/// Reads `[drill]`.
pub(crate) fn read(mut section: Section<'_>, objectives: &Objectives, context: &Context<'_>) -> Drill {
    let daily_download = section.size("daily-download", 0).unwrap_or(DAILY_DOWNLOAD);
    let default = DrillPolicy { rto: objectives.rto, ..DrillPolicy::default() };
    let (policy, schedule) = policy(&mut section, &default, &default.schedule);
    Drill {
        scratch: section.parsed("scratch", "a path", |text| context.base.unless_empty(text)).flatten(),
        limits: DrillLimits {
            window: section.parsed("window", WINDOW_ACCEPTED, window),
            daily_download: (daily_download > 0).then_some(daily_download),
        },
        policy,
        schedule,
    }
}

/// Reads `[database.drill]`; what it does not say is as in `[drill]`.
pub(crate) fn read_database(mut section: Section<'_>, drill: &Drill) -> DrillPolicy {
    policy(&mut section, &drill.policy, &drill.schedule).0
}

/// What is written, and otherwise what holds in `of`; and the schedule, whether drills are on or not.
fn policy(section: &mut Section<'_>, of: &DrillPolicy, schedule: &DrillSchedule) -> (DrillPolicy, DrillSchedule) {
    section.exclude("interval", "schedule");
    let interval = section.interval("interval").map(DrillSchedule::Every);
    let cron = section.parsed("schedule", SCHEDULE_ACCEPTED, cron);
    let schedule = interval.or(cron).unwrap_or_else(|| schedule.clone());
    let enabled = section.boolean("enabled").unwrap_or(of.schedule != DrillSchedule::Off);
    let timeout = section.duration("timeout");
    if timeout.is_some_and(|timeout| timeout > DRILL_TIMEOUT_MAX) {
        section.wrong("timeout", "too long", "at most 7d");
    }
    let checks = Integrity::ALL.iter().map(|check| (check.as_str(), *check));
    let policy = DrillPolicy {
        schedule: if enabled { schedule.clone() } else { DrillSchedule::Off },
        size_max: section.size("max-size", 0).unwrap_or(of.size_max),
        timeout: timeout.unwrap_or(of.timeout),
        integrity: section.choice("check", checks).unwrap_or(of.integrity),
        foreign_keys: section.boolean("foreign-keys").unwrap_or(of.foreign_keys),
        compare: section.boolean("compare").unwrap_or(of.compare),
        full_every: section.integer("full-every", 1..=DRILL_FULL_EVERY_MAX).unwrap_or(of.full_every),
        memory_max: section.size("memory", DRILL_MEMORY_BYTES_MIN).unwrap_or(of.memory_max),
        prices: prices(section.section_or_empty("price"), of.prices),
        ..of.clone()
    };
    (policy, schedule)
}

fn prices(mut section: Section<'_>, of: ConfiguredPrices) -> ConfiguredPrices {
    let minimum_bytes = section.size("minimum-bytes", 0);
    let mut price = |key| section.number(key, 0.0);
    ConfiguredPrices {
        uploads_per_thousand: price("uploads-per-thousand").or(of.uploads_per_thousand),
        deletes_per_thousand: price("deletes-per-thousand").or(of.deletes_per_thousand),
        minimum_days: price("minimum-days").or(of.minimum_days),
        minimum_bytes: minimum_bytes.or(of.minimum_bytes),
        reads_per_thousand: price("reads-per-thousand").or(of.reads_per_thousand),
        lists_per_thousand: price("lists-per-thousand").or(of.lists_per_thousand),
        received_per_gigabyte: price("received-per-gigabyte").or(of.received_per_gigabyte),
        stored_per_gigabyte: price("stored-per-gigabyte").or(of.stored_per_gigabyte),
    }
}

/// A cron expression that says its time zone and comes due at some time.
fn cron(text: &str) -> Result<DrillSchedule, String> {
    let fields = text.split_ascii_whitespace().count();
    if fields < 5 {
        return Err("not five fields".to_owned());
    }
    // What is read here has to mean the same wherever it is looked at later.
    let text = match TimeZone::system() {
        _ if fields > 5 => text.to_owned(),
        zone => match zone.iana_name() {
            Some(zone) => format!("{text} {zone}"),
            None if zone == TimeZone::UTC => format!("{text} UTC"),
            None => return Err("without a time zone, and this system's time zone has no name".to_owned()),
        },
    };
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::None;
    // Its own message shows the text a second time, on several lines.
    let crontab = parse_crontab_with(&text, options).map_err(|error| {
        let error = error.to_string();
        format!("not a cron expression: {}", error.lines().last().unwrap_or_default().trim_start_matches([' ', '^']))
    })?;
    crontab.find_next(MakeTimestamp(Timestamp::UNIX_EPOCH)).map_err(|_| "never due".to_owned())?;
    Ok(DrillSchedule::Cron(text))
}

/// Reads the `[[database.probe]]` of a database.
pub(crate) fn read_probes(section: &mut Section<'_>) -> Vec<DrillProbe> {
    let sections = section.sections_up_to("probe", DRILL_PROBES_MAX, &format!("at most {DRILL_PROBES_MAX} probes"));
    let mut names = HashSet::new();
    sections.into_iter().filter_map(|section| probe(section, &mut names)).collect()
}

fn probe(mut section: Section<'_>, names: &mut HashSet<String>) -> Option<DrillProbe> {
    let name =
        section.parsed("name", &format!("{}, each name once", label::ACCEPTED), |name| match label::parse(name)? {
            name if names.insert(name.clone()) => Ok(name),
            _ => Err("given twice"),
        });
    let query =
        section.parsed("query", "an SQL query that returns one row with one value", |query| match query.len() {
            _ if query.trim().is_empty() => Err("empty".to_owned()),
            length if length > DRILL_QUERY_BYTES_MAX => Err(format!("longer than {DRILL_QUERY_BYTES_MAX} bytes")),
            _ => Ok(query.to_owned()),
        });
    let expect = Expectation {
        max_age: section.duration("max-age"),
        min: section.number("min", f64::NEG_INFINITY),
        max: section.number("max", f64::NEG_INFINITY),
        equals: section.any("equals", "text, a number or a boolean").map(|scalar| scalar.text.to_owned()),
    };
    section.require("name", "");
    section.require("query", "");
    if !["max-age", "min", "max", "equals"].iter().any(|key| section.has(key)) {
        let accepted = "at least one of max-age, min, max and equals";
        section.fault("does not say what is expected", accepted);
    }
    if let (Some(min), Some(max)) = (expect.min, expect.max)
        && min > max
    {
        section.wrong("min", "above `max`", "");
    }
    Some(DrillProbe { name: name?, query: query?, expect })
}
