//! `[drill]`, `[database.drill]` and `[[database.probe]]`: when restores are rehearsed, and how.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use cronexpr::{FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::domain::drill::schedule::{DrillLimits, DrillWindow};
use crate::domain::drill::{DrillPolicy, DrillProbe, DrillSchedule, Expectation, Integrity};
use crate::domain::limits::{
    DRILL_FULL_EVERY_MAX, DRILL_MEMORY_BYTES_MIN, DRILL_PROBES_MAX, DRILL_QUERY_BYTES_MAX, DRILL_TIMEOUT_MAX,
};
use crate::domain::price::Prices;

use crate::infrastructure::config::own::database::{NAME_ACCEPTED, label};
use crate::infrastructure::config::own::settings::{Context, ObjectiveDefaults, choice, path};
use crate::infrastructure::config::value::section::Section;

/// What drills from buckets may download in 24 hours, so that no bill surprises.
const DAILY_DOWNLOAD: u64 = 5 << 30;

const SCHEDULE_ACCEPTED: &str = "five fields and perhaps a time zone, such as 0 3 * * * or 0 3 * * SUN Europe/Berlin";

pub(crate) const WINDOW_ACCEPTED: &str = "two times of the day such as 01:00-05:00 or 22:00-04:00";

/// `[drill]`
#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    /// Where drills restore. Absent: [`Settings::drill_scratch`](crate::infrastructure::config::Settings::drill_scratch) says where.
    pub scratch: Option<PathBuf>,
    /// By default at any time, and 5 GiB a day: at the dearest prices 14 dollars a month.
    pub limits: DrillLimits,
    /// How a replica is drilled of which nothing else is said.
    pub policy: DrillPolicy,
    keys: Keys,
}

impl Drill {
    /// How a database is drilled that says this itself.
    pub(crate) fn policy_for(&self, own: &Keys) -> DrillPolicy {
        let policy = self.keys.apply(&DrillPolicy { schedule: DrillSchedule::BySize, ..self.policy.clone() });
        let policy = own.apply(&policy);
        let enabled = own.enabled.or(self.keys.enabled).unwrap_or(true);
        DrillPolicy { schedule: if enabled { policy.schedule } else { DrillSchedule::Off }, ..policy }
    }
}

/// What `[drill]` says for all databases and `[database.drill]` for one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Keys {
    enabled: Option<bool>,
    schedule: Option<DrillSchedule>,
    size_max: Option<u64>,
    timeout: Option<Duration>,
    integrity: Option<Integrity>,
    foreign_keys: Option<bool>,
    compare: Option<bool>,
    full_every: Option<u32>,
    memory_max: Option<u64>,
    reads_per_thousand: Option<f64>,
    lists_per_thousand: Option<f64>,
    received_per_gigabyte: Option<f64>,
    stored_per_gigabyte: Option<f64>,
}

impl Keys {
    /// What is said here, and otherwise what is said in `other`.
    fn apply(&self, other: &DrillPolicy) -> DrillPolicy {
        let prices = other.prices;
        DrillPolicy {
            schedule: self.schedule.clone().unwrap_or_else(|| other.schedule.clone()),
            size_max: self.size_max.unwrap_or(other.size_max),
            timeout: self.timeout.unwrap_or(other.timeout),
            integrity: self.integrity.unwrap_or(other.integrity),
            foreign_keys: self.foreign_keys.unwrap_or(other.foreign_keys),
            compare: self.compare.unwrap_or(other.compare),
            full_every: self.full_every.unwrap_or(other.full_every),
            memory_max: self.memory_max.unwrap_or(other.memory_max),
            prices: Prices {
                reads_per_thousand: self.reads_per_thousand.unwrap_or(prices.reads_per_thousand),
                lists_per_thousand: self.lists_per_thousand.unwrap_or(prices.lists_per_thousand),
                received_per_gigabyte: self.received_per_gigabyte.unwrap_or(prices.received_per_gigabyte),
                stored_per_gigabyte: self.stored_per_gigabyte.or(prices.stored_per_gigabyte),
            },
            ..other.clone()
        }
    }
}

/// Reads `[drill]`.
pub(crate) fn read(mut section: Section<'_>, objectives: &ObjectiveDefaults, context: &Context<'_>) -> Drill {
    let keys = keys(&mut section);
    let daily_download = section.size("daily-download", 0).unwrap_or(DAILY_DOWNLOAD);
    let limits = DrillLimits {
        window: section.parsed("window", WINDOW_ACCEPTED, window),
        daily_download: (daily_download > 0).then_some(daily_download),
    };
    let scratch = path(&mut section, "scratch", context);
    section.finish();
    let policy = DrillPolicy { rto: objectives.rto, ..DrillPolicy::default() };
    let drill = Drill { scratch, limits, policy, keys };
    Drill { policy: drill.policy_for(&Keys::default()), ..drill }
}

/// Reads `[database.drill]`.
pub(crate) fn read_database(mut section: Section<'_>) -> Keys {
    let keys = keys(&mut section);
    section.finish();
    keys
}

fn keys(section: &mut Section<'_>) -> Keys {
    if section.has("interval") && section.has("schedule") {
        section.problem(section.place_of("schedule").problem("beside `interval`").accepted("one of the two"));
    }
    let interval = section.interval("interval").map(DrillSchedule::Every);
    let schedule = section.parsed("schedule", SCHEDULE_ACCEPTED, cron);
    let timeout = section.duration("timeout");
    if timeout.is_some_and(|timeout| timeout > DRILL_TIMEOUT_MAX) {
        section.problem(section.place_of("timeout").problem("too long").accepted("at most 7d"));
    }
    let memory_max = section.size("memory", DRILL_MEMORY_BYTES_MIN);
    let mut price = section.section_or_empty("price");
    let prices = ["reads-per-thousand", "lists-per-thousand", "received-per-gigabyte", "stored-per-gigabyte"]
        .map(|key| price.number(key, 0.0));
    price.finish();
    Keys {
        enabled: section.boolean("enabled"),
        schedule: interval.or(schedule),
        size_max: section.size("max-size", 0),
        timeout,
        integrity: choice(section, "check", Integrity::ALL, Integrity::as_str),
        foreign_keys: section.boolean("foreign-keys"),
        compare: section.boolean("compare"),
        full_every: section
            .integer("full-every", 1, DRILL_FULL_EVERY_MAX)
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        memory_max,
        reads_per_thousand: prices[0],
        lists_per_thousand: prices[1],
        received_per_gigabyte: prices[2],
        stored_per_gigabyte: prices[3],
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
            None => return Err("without a time zone, and that of this system has no name".to_owned()),
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

/// Two times of the day, in this system's time zone.
pub(crate) fn window(text: &str) -> Result<DrillWindow, String> {
    let (from, to) = text.split_once('-').ok_or("not two times")?;
    let (from, to) = (time(from)?, time(to)?);
    if from == to {
        return Err("empty".to_owned());
    }
    Ok(DrillWindow { from, to, zone: TimeZone::system() })
}

/// `HH:MM`, where `24:00` is the midnight at the end.
fn time(text: &str) -> Result<Time, String> {
    let number = |text: &str| match text.len() {
        2 if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse::<i8>().ok(),
        _ => None,
    };
    let (hour, minute) = text.trim().split_once(':').ok_or("not two times")?;
    let parts = number(hour).zip(number(minute));
    let (hour, minute) = parts.ok_or("not two times")?;
    let hour = if (hour, minute) == (24, 0) { 0 } else { hour };
    Time::new(hour, minute, 0, 0).map_err(|_| "not two times".to_owned())
}

/// Reads the `[[database.probe]]` of a database.
pub(crate) fn read_probes(section: &mut Section<'_>) -> Vec<DrillProbe> {
    let sections = section.sections("probe");
    if sections.len() > DRILL_PROBES_MAX {
        let place = section.place_of("probe");
        section.problem(place.problem("too many").accepted(format!("at most {DRILL_PROBES_MAX} probes")));
    }
    let mut names = HashSet::new();
    sections.into_iter().filter_map(|section| probe(section, &mut names)).collect()
}

fn probe(mut section: Section<'_>, names: &mut HashSet<String>) -> Option<DrillProbe> {
    let name = section.parsed("name", NAME_ACCEPTED, |name| match label(name)? {
        name if names.insert(name.clone()) => Ok(name),
        _ => Err("a second time".to_owned()),
    });
    let query = section.parsed("query", "an SQL query that gives one row of one value", |query| match query.len() {
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
    for key in ["name", "query"] {
        if !section.has(key) {
            section.problem(section.place_of(key).problem("missing"));
        }
    }
    const EXPECTATIONS: &[&str] = &["max-age", "min", "max", "equals"];
    if !EXPECTATIONS.iter().any(|key| section.has(key)) {
        let accepted = "at least one of max-age, min, max and equals";
        section.problem(section.place().problem("says nothing of what is expected").accepted(accepted));
    }
    if let (Some(min), Some(max)) = (expect.min, expect.max)
        && min > max
    {
        section.problem(section.place_of("min").problem("above `max`"));
    }
    section.finish();
    Some(DrillProbe { name: name?, query: query?, expect })
}
