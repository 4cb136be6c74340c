//! Sizes as people write them: bytes, or a number with a unit of 1000 (`MB`) or of 1024 (`MiB`).

use crate::domain::limits::OBJECT_BYTES_MAX;

/// The accepted form, for messages.
pub(crate) const ACCEPTED: &str = "a size such as 10GiB, 512MB, 1.5GiB or a number of bytes";

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a size of at most [`OBJECT_BYTES_MAX`] bytes.
///
/// # Errors
///
/// The problem with it.
pub(crate) fn parse(text: &str) -> Result<u64, &'static str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| "not a size")?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or("unknown unit")?;
    // Exact for every whole number of bytes up to the bound: both are far below 2^53.
    let bytes = number * *factor as f64;
    if bytes > OBJECT_BYTES_MAX as f64 {
        return Err("too large");
    }
    Ok(bytes as u64)
}

/// As [`parse`], for the command line.
///
/// # Errors
///
/// What is wrong with it, and what is accepted.
pub fn read(text: &str) -> Result<u64, String> {
    parse(text).map_err(|message| format!("{message}; accepted: {ACCEPTED}"))
}

/// Whether Litestream reads `part-size` of it: a number and perhaps a unit, in any case.
pub(crate) fn is_litestreams(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    number.parse::<f64>().is_ok() && matches!(unit, "" | "k" | "m" | "g" | "t" | "p" | "e")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_bytes_and_units() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("1B", 1),
            ("2kB", 2_000),
            ("512MB", 512_000_000),
            ("512 MiB", 512 << 20),
            ("1.5GiB", 3 << 29),
            (".5KiB", 512),
            ("10GiB", 10 << 30),
            ("1024TiB", 1 << 50),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("", "not a size"),
            ("GiB", "not a size"),
            ("-1", "not a size"),
            ("1.2.3", "not a size"),
            ("1e9", "unknown unit"),
            ("10G", "unknown unit"),
            ("10 gib", "unknown unit"),
            ("10  GiB", "unknown unit"),
            ("1025TiB", "too large"),
            ("99999999999999999999999999999999", "too large"),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn every_number_of_bytes_is_exact(bytes in 0..=OBJECT_BYTES_MAX) {
            prop_assert_eq!(parse(&bytes.to_string()), Ok(bytes));
        }
    }
}
