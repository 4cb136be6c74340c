//! Instants, times of the day and days of the week as people write them, in this system's time zone.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use crate::domain::window::DailyWindow;

pub(crate) const WINDOW_ACCEPTED: &str = "two times of day such as 01:00-05:00 or 22:00-04:00";

pub(crate) const INSTANT_ACCEPTED: &str =
    "a time such as 2026-12-24T18:00:00+01:00, or 2026-12-24T18:00 in this system's time zone";

pub(crate) const DAYS_ACCEPTED: &str = "MON, TUE, WED, THU, FRI, SAT, SUN";

/// Reads one of [`DAYS_ACCEPTED`], in any case.
pub(crate) fn day(text: &str) -> Result<Weekday, &'static str> {
    let mut days = DAYS_ACCEPTED.split(", ").zip(Weekday::Monday.cycle_forward());
    days.find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, day)| day).ok_or("not a day of the week")
}

/// Reads an instant, with an offset or without.
pub(crate) fn instant(text: &str) -> Result<Timestamp, &'static str> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let local: Option<DateTime> = text.parse().ok();
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()).ok());
    zoned.map(|zoned| zoned.timestamp()).ok_or("not a time")
}

/// Reads two times of the day.
pub(crate) fn window(text: &str) -> Result<DailyWindow, &'static str> {
    let (from, to) = text.split_once('-').ok_or("not two times")?;
    let (from, to) = (time(from)?, time(to)?);
    if from == to {
        return Err("empty");
    }
    Ok(DailyWindow { from, to, zone: TimeZone::system() })
}

/// `HH:MM`, where `24:00` is the midnight at the end.
fn time(text: &str) -> Result<Time, &'static str> {
    let number = |text: &str| match text.len() {
        2 if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse::<i8>().ok(),
        _ => None,
    };
    let (hour, minute) = text.trim().split_once(':').ok_or("not two times")?;
    let (hour, minute) = number(hour).zip(number(minute)).ok_or("not two times")?;
    let hour = if (hour, minute) == (24, 0) { 0 } else { hour };
    Time::new(hour, minute, 0, 0).map_err(|_| "not two times")
}
