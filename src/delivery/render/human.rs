//! Durations and sizes as a person reads them.

use jiff::{SignedDuration, Timestamp};

/// `850ms`, `4.2s`, `12s`, `4m 10s`, `3h 12m`, `2d 4h`. Below zero and what is no number are `0s` and `unknown`.
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

/// `812 B`, `4.2 KiB`, `1.0 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would print as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// The time from `then` to `now`, in seconds; zero when `then` lies in the future.
pub fn age_seconds(then: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(then).max(SignedDuration::ZERO).as_secs_f64()
}

/// An instant to the second, in UTC.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

pub use crate::domain::printable::printable;

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
}
