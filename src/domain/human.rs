//! Durations, sizes, ages, instants and counts as a person reads them: short ones for tables, and those of a sentence.

use std::fmt::Display;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub use super::printable::printable;

/// For a table: `850ms`, `4.2s`, `12s`, `4m 10s`, `3h 12m`, `2d 4h`. Below zero and what is no number are `0s` and
/// `unknown`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let whole = seconds as u64;
    let pair = |big: u64, unit: &str, small: u64, sub: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit} {small}{sub}") }
    };
    match seconds {
        s if s <= 0.0 => "0s".to_owned(),
        s if s < 0.9995 => format!("{:.0}ms", s * 1000.0),
        s if s < 9.95 && s.fract() > 0.0 => format!("{s:.1}s"),
        s if s < 60.0 => format!("{whole}s"),
        s if s < 3600.0 => pair(whole / 60, "m", whole % 60, "s"),
        s if s < 86_400.0 => pair(whole / 3600, "h", whole % 3600 / 60, "m"),
        _ => pair(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

/// For a sentence: `4 s`, `5 min 20 s`, `3 h 5 min`, `2 d 4 h`; `0 s` for what is below zero.
pub fn spoken(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// For a table: `812 B`, `4.2 KiB`, `1.0 GiB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { scaled(bytes as f64) }
}

/// For a sentence: `1 byte`, `812 bytes`, `4.2 KiB`, `-1.0 GiB`.
pub fn spoken_bytes(bytes: f64) -> String {
    if bytes.abs() < 1024.0 { counted(bytes.round() as i64, "byte") } else { scaled(bytes) }
}

/// Of 1 KiB or more.
fn scaled(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes / 1024.0;
    let mut unit = 0;
    // 1023.95 would print as 1024.0.
    while value.abs() >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 hole`, `6 holes`, `0 queries`, `2 series`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let many = match noun.strip_suffix('y') {
        None if noun.ends_with("series") => noun.to_owned(),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    };
    format!("{count} {}", agree(&count, noun, &many))
}

/// The form that goes with a number of things: `is` with 1, `are` with any other.
pub fn agree<'a, N: PartialEq + From<u8>>(count: &N, one: &'a str, many: &'a str) -> &'a str {
    if *count == N::from(1) { one } else { many }
}

/// `, and 3 more` where one of `count` was named.
pub fn and_more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// The time from `then` to `now`, in seconds; zero when `then` lies in the future.
pub fn age_seconds(then: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(then).max(SignedDuration::ZERO).as_secs_f64()
}

/// An instant to the second, in UTC.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// An instant as it is said on the day of `now`: by its time alone, `14:03:20 UTC`; on any other, with its date.
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    let same_day = at.as_second().div_euclid(86_400) == now.as_second().div_euclid(86_400);
    at.strftime(if same_day { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" }).to_string()
}

/// An instant with its fraction, in UTC and, where that differs, in a time zone.
pub fn instant_in(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let utc = at.strftime("%Y-%m-%d %H:%M:%S%.fZ");
    if local.offset().is_zero() {
        utc.to_string()
    } else {
        format!("{utc} ({})", local.strftime("%Y-%m-%d %H:%M:%S%.f %:z"))
    }
}

/// An amount of money that may be small: `free`, `< $0.0001`, `$0.0120`.
pub fn dollars(dollars: f64) -> String {
    match dollars {
        none if none <= 0.0 => "free".to_owned(),
        little if little < 0.0001 => "< $0.0001".to_owned(),
        some => format!("${some:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_parts() {
        let cases = [
            (-1.0, "0s"),
            (0.0, "0s"),
            (0.0004, "0ms"),
            (0.85, "850ms"),
            (0.9999, "1.0s"),
            (1.0, "1s"),
            (4.21, "4.2s"),
            (9.97, "9s"),
            (12.9, "12s"),
            (60.0, "1m"),
            (250.0, "4m 10s"),
            (11_520.0, "3h 12m"),
            (187_200.0, "2d 4h"),
            (1e300, "213503982334601d 7h"),
            (f64::NAN, "unknown"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (4301, "4.2 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (size, expected) in cases {
            assert_eq!(bytes(size), expected, "{size}");
        }
    }

    #[test]
    fn sentences_name_their_units() {
        let cases =
            [(-1.0, "0 s"), (4.4, "4 s"), (320.0, "5 min 20 s"), (11_100.0, "3 h 5 min"), (187_200.0, "2 d 4 h")];
        for (seconds, expected) in cases {
            assert_eq!(spoken(seconds), expected, "{seconds}");
        }
        let cases =
            [(0.0, "0 bytes"), (1.0, "1 byte"), (-1000.0, "-1000 bytes"), (1024.0, "1.0 KiB"), (5e9, "4.7 GiB")];
        for (size, expected) in cases {
            assert_eq!(spoken_bytes(size), expected, "{size}");
        }
    }

    #[test]
    fn nouns_agree_with_their_number() {
        let said = |count: usize| ["hole", "query", "key", "series"].map(|noun| counted(count, noun));
        assert_eq!(said(0), ["0 holes", "0 queries", "0 keys", "0 series"]);
        assert_eq!(said(1), ["1 hole", "1 query", "1 key", "1 series"]);
        assert_eq!(said(6), ["6 holes", "6 queries", "6 keys", "6 series"]);
        assert_eq!([0, 1, 2].map(and_more), ["", "", ", and 1 more"]);
    }

    #[test]
    fn an_instant_of_today_is_a_time() {
        let [now, before] = ["2026-11-22T00:00:00Z", "2026-11-21T23:59:59Z"].map(|at| at.parse().unwrap());
        assert_eq!(clock(now, now), "00:00:00 UTC");
        assert_eq!(clock(before, now), "2026-11-21 23:59:59 UTC");
    }

    #[test]
    fn an_instant_names_the_zone_where_it_differs() {
        let at = "2026-11-22T07:30:15.25Z".parse().unwrap();
        assert_eq!(instant(at), "2026-11-22 07:30:15Z");
        assert_eq!(instant_in(at, &TimeZone::UTC), "2026-11-22 07:30:15.25Z");
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(instant_in(at, &berlin), "2026-11-22 07:30:15.25Z (2026-11-22 08:30:15.25 +01:00)");
    }
}
