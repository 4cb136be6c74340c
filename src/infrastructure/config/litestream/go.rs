//! Values as Litestream reads them, and what is said of those with which it refuses to start.

use std::time::Duration;

use crate::infrastructure::config::source::node::{Kind, Style};
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::config::value::{duration, size, yaml};

/// A type of value that Litestream accepts for a key.
#[derive(Clone, Copy)]
pub(crate) struct Takes {
    accepted: &'static str,
    reads: fn(&str, Style) -> bool,
}

pub(crate) const TEXT: Takes = Takes { accepted: "a string", reads: |_, _| true };

pub(crate) const NUMBER: Takes =
    Takes { accepted: "a number", reads: |text, style| style == Style::Loose && yaml::number(text).is_some() };

pub(crate) const BOOLEAN: Takes =
    Takes { accepted: "true or false", reads: |text, style| style == Style::Loose && yaml::boolean(text).is_some() };

pub(crate) const SIZE: Takes = Takes { accepted: "a size such as 5MB", reads: |text, _| size::is_litestreams(text) };

/// Reads keys, separated by spaces, whose values say nothing to us, to tell of those that Litestream cannot read.
pub(crate) fn unused(section: &mut Section<'_>, takes: Takes, keys: &'static str) {
    for key in keys.split_ascii_whitespace() {
        let Some((node, place)) = section.take(key) else { continue };
        if !matches!(&node.kind, Kind::Scalar { text, style } if (takes.reads)(text, *style)) {
            section.warning(place.problem("Litestream refuses to start with it").accepted(takes.accepted));
        }
    }
}

/// The text of a key, where it is one value.
pub(crate) fn written<'a>(section: &mut Section<'a>, key: &'static str) -> Option<&'a str> {
    match &section.take(key)?.0.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// A duration as Litestream reads one. A number without a unit is nanoseconds there, which nobody means.
pub(crate) fn go_duration(section: &mut Section<'_>, key: &'static str) -> Option<i64> {
    let scalar = section.any(key, duration::ACCEPTED_GO)?;
    if scalar.style == Style::Loose
        && let Some(number) = yaml::number(scalar.text)
    {
        if number != 0.0 {
            let problem = scalar.place.problem("no unit: Litestream takes it for nanoseconds");
            section.warning(problem.value(scalar.text).accepted(duration::ACCEPTED_GO));
        }
        // The cast saturates, as does what Litestream makes of it.
        return Some(number as i64);
    }
    match duration::parse_go(scalar.text) {
        Ok(nanoseconds) => Some(nanoseconds),
        Err(message) => {
            section.problem(scalar.place.problem(message).value(scalar.text).accepted(duration::ACCEPTED_GO));
            None
        }
    }
}

/// A key that only v0.3 reads. v0.5 does not look at its value, so that one which v0.3 cannot read either is a warning.
pub(crate) fn duration_of_v03(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let readable = match &section.take(key)?.0.kind {
        Kind::Scalar { text, style: Style::Loose } if yaml::number(text).is_some() => true,
        Kind::Scalar { text, .. } => duration::parse_go(text).is_ok(),
        _ => false,
    };
    if readable {
        return go_duration(section, key).and_then(positive);
    }
    let message = "Litestream v0.3 refuses to start with it, and v0.5 does not read this key";
    section.warn(key, message, duration::ACCEPTED_GO);
    None
}

/// A duration above zero; anything else is as good as absent.
pub(crate) fn positive(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos)
}

/// The least that Litestream v0.5 accepts of a duration, in nanoseconds and in words.
pub(crate) type Least = (i64, &'static str);

pub(crate) const ZERO: Least = (0, "0s or more");
pub(crate) const ABOVE_ZERO: Least = (1, "above 0s");
pub(crate) const MINUTE: Least = (60_000_000_000, "1m or more");

/// Reads a duration, in nanoseconds.
pub(crate) fn at_least(section: &mut Section<'_>, key: &'static str, (least, accepted): Least) -> Option<i64> {
    let nanoseconds = go_duration(section, key)?;
    if nanoseconds < least {
        refused(section, key, accepted);
    }
    Some(nanoseconds)
}

/// Says that Litestream v0.5 refuses what is written.
pub(crate) fn refused(section: &Section<'_>, key: &str, accepted: &str) {
    section.warn(key, "Litestream v0.5 refuses to start with it", accepted);
}
