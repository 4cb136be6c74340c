//! An instant as a person writes it: a time, with or without a zone, or how long ago.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `2026-11-22T08:30:00Z` (RFC 3339), `2026-11-22 08:30[:15]` in the zone given, or `2h` ago.
///
/// # Errors
///
/// What is accepted, for a person.
pub fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(local) = text.parse::<DateTime>() {
        // A date alone is midnight.
        return local
            .to_zoned(zone.clone())
            .map(|zoned| zoned.timestamp())
            .map_err(|error| format!("{text:?}: {error}"));
    }
    let ago = text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative());
    ago.and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(|| {
        format!(
            "{text:?} is no instant: expected 2026-11-22T08:30:00Z, 2026-11-22 08:30 in local time, or a duration ago \
             such as 2h"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let shown = instant(text, now, &zone).map_or_else(|error| error, |at| at.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn people_write_instants_in_three_ways() {
        check("2026-11-22T08:30:00Z", "2026-11-22T08:30:00Z");
        check("2026-11-22T08:30:00.25+01:00", "2026-11-22T07:30:00.25Z");
        check("2026-11-22 08:30", "2026-11-22T06:30:00Z");
        check("2026-11-22T08:30:15", "2026-11-22T06:30:15Z");
        check("2026-11-22", "2026-11-21T22:00:00Z");
        check("2h", "2026-11-22T10:00:00Z");
        check("1h30m", "2026-11-22T10:30:00Z");
        check("0s", "2026-11-22T12:00:00Z");
    }

    #[test]
    fn anything_else_says_what_is_accepted() {
        let expected = "2026-11-22T08:30:00Z, 2026-11-22 08:30 in local time, or a duration ago such as 2h";
        for text in ["yesterday", "", "-2h", "2026-13-01", "99999999999999999h"] {
            check(text, &format!("{text:?} is no instant: expected {expected}"));
        }
    }
}
