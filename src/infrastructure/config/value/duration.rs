//! Durations as people write them: Go's form (`1h30m`, `1.5h`, `300ms`) and Prometheus's (`1d`, `2w`, `1y`).

use std::time::Duration;

/// The accepted form, for messages.
pub(crate) const ACCEPTED: &str = "a duration such as 500ms, 30s, 5m, 1h30m or 7d";

/// The form that Litestream's own configuration accepts, for messages.
pub(crate) const ACCEPTED_GO: &str = "a duration with a unit of ns, us, ms, s, m or h, such as 1s or 24h";

const GO: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

const PROMETHEUS: &[(&str, i128)] = &[("d", DAY), ("w", 7 * DAY), ("y", 365 * DAY)];

/// Digits behind the point that are read: more say nothing of a nanosecond.
const FRACTION_DIGITS_MAX: usize = 15;

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// Reads either form; negative durations and more than Go's 292 years are refused.
pub(crate) fn parse(text: &str) -> Result<Duration, &'static str> {
    let nanoseconds = sum(text, &[GO, PROMETHEUS])?;
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| "negative duration")?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// As [`parse`], for the command line.
///
/// # Errors
///
/// What is wrong with it, and what is accepted.
pub fn read(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|message| format!("{message}; accepted: {ACCEPTED}"))
}

/// Reads what Go's `time.ParseDuration` reads, in nanoseconds.
pub(crate) fn parse_go(text: &str) -> Result<i64, &'static str> {
    sum(text, &[GO])
}

fn sum(text: &str, units: &[&[(&str, i128)]]) -> Result<i64, &'static str> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err("not a duration");
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, fraction, behind) = number(rest)?;
        let length = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(length);
        if unit.is_empty() {
            return Err("a number without a unit");
        }
        let nanoseconds = units
            .iter()
            .flat_map(|table| table.iter())
            .find_map(|(name, nanoseconds)| (*name == unit).then_some(*nanoseconds))
            .ok_or("unknown unit")?;
        let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
        total += value(whole) * nanoseconds + value(fraction) * nanoseconds / 10_i128.pow(fraction.len() as u32);
        if total > i128::from(i64::MAX) {
            return Err("too long");
        }
        rest = behind;
    }
    let total = i64::try_from(total).map_err(|_| "too long")?;
    Ok(if negative { -total } else { total })
}

/// Splits a decimal number off: the digits before the point, those behind it, and the rest of the text.
fn number(text: &str) -> Result<(&str, &str, &str), &'static str> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() { Err("not a duration") } else { Ok((whole, fraction, rest)) }
}

/// The value of digits, of which more than a duration can have come to no more.
fn value(digits: &str) -> i128 {
    // Far above the longest duration, far below an overflow.
    digits.bytes().fold(0, |value, digit| (value * 10 + i128::from(digit - b'0')).min(1 << 70))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_both_forms() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("500ms", Duration::from_millis(500)),
            ("1m30s", Duration::from_secs(90)),
            ("1.5h", Duration::from_secs(5_400)),
            (".5s", Duration::from_millis(500)),
            ("5.s", Duration::from_secs(5)),
            ("1µs", Duration::from_micros(1)),
            ("2us", Duration::from_micros(2)),
            ("7ns", Duration::from_nanos(7)),
            ("+1s", Duration::from_secs(1)),
            ("1d", Duration::from_secs(86_400)),
            ("2w", Duration::from_secs(14 * 86_400)),
            ("1y", Duration::from_secs(365 * 86_400)),
            ("1d12h", Duration::from_secs(36 * 3_600)),
            ("720h", Duration::from_secs(30 * 86_400)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("", "not a duration"),
            ("-", "not a duration"),
            (".", "not a duration"),
            ("fast", "not a duration"),
            ("10", "a number without a unit"),
            ("1h30", "a number without a unit"),
            ("5 m", "unknown unit"),
            ("5min", "unknown unit"),
            ("5M", "unknown unit"),
            ("-1s", "negative duration"),
            ("300y", "too long"),
            ("99999999999999999999999999999999999999999999h", "too long"),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn litestream_knows_no_days() {
        assert_eq!(parse_go("24h"), Ok(86_400_000_000_000));
        assert_eq!(parse_go("-1s"), Ok(-1_000_000_000));
        assert_eq!(parse_go("1d"), Err("unknown unit"));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_what_std_prints(seconds in 0_u64..1_000_000_000, milliseconds in 0_u32..1_000) {
            let expected = Duration::from_secs(seconds) + Duration::from_millis(milliseconds.into());
            prop_assert_eq!(parse(&format!("{seconds}s{milliseconds}ms")), Ok(expected));
        }
    }
}
