//! What yaml.v2 makes of plain scalars.

/// A number: decimal, hexadecimal, octal or binary, with `_` between the digits.
pub(crate) fn number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let whole = |radix: u32, digits: &str| u64::from_str_radix(digits, radix).ok().map(|number| number as f64);
    let number = match digits.get(..2) {
        Some("0x") => whole(16, &digits[2..]),
        Some("0o") => whole(8, &digits[2..]),
        Some("0b") => whole(2, &digits[2..]),
        _ => digits.parse().ok().filter(|_| digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')),
    };
    number.map(|number| negative * number).filter(|number| number.abs() < i64::MAX as f64)
}

/// A boolean of YAML 1.1.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}
