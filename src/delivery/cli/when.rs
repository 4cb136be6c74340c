//! Points in time and TXIDs as a person types them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::domain::human;
use crate::domain::litestream::Txid;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::config::read_duration;

/// Reads the value of `--at`.
///
/// # Errors
///
/// When the text is not accepted: says what would have been.
pub fn at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Reason> {
    let wrong = |cause: String| Reason::new(ReasonKind::Misconfigured, format!("--at {text:?}: {cause}"));
    let at = instant(text, now, zone).map_err(wrong)?;
    if at > now {
        let hint = "omit --at for the newest state; write two hours ago as 2h";
        return Err(wrong(format!("in the future; it is now {}", human::instant(now))).with_hint(hint));
    }
    Ok(at)
}

/// Reads an instant: RFC 3339, a local date and time, or how long ago.
///
/// # Errors
///
/// When the text is not accepted: says what would have been.
fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if let Some(local) = local(text) {
        let found = zone.to_ambiguous_zoned(local);
        if found.is_ambiguous() {
            let options = [found.clone().earlier(), found.later()].map(|option| {
                option
                    .map_or_else(|error| error.to_string(), |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
            });
            return Err(format!(
                "{local} exists twice or not at all, because the clocks change: use {}",
                options.join(" or ")
            ));
        }
        return found.compatible().map(|zoned| zoned.timestamp()).map_err(|error| error.to_string());
    }
    if let Some(instant) = read_duration(text).ok().and_then(|ago| now.checked_sub(ago).ok()) {
        return Ok(instant);
    }
    Err("expected a time such as 2026-11-22T08:30:00Z, a local time such as '2026-11-22 08:30', or how long ago, such \
         as 90s, 2h or 1h30m"
        .to_owned())
}

/// `2026-11-22 08:30`, `2026-11-22 08:30:15`, with `T` as well.
fn local(text: &str) -> Option<DateTime> {
    // The library takes a date without a time for midnight, which nobody restores to by intention.
    let (date, time) = text.split_once([' ', 'T', 't'])?;
    (time.contains(':') && !time.contains(['Z', 'z', '+', '-', '['])).then_some(())?;
    format!("{date}T{time}").parse().ok()
}

/// Reads a TXID as `litestream restore -txid` does.
///
/// # Errors
///
/// When the text is not a TXID: says what would have been accepted, and what the text may have meant.
pub fn txid(text: &str) -> Result<Txid, String> {
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && !text.is_empty();
    let number = u64::from_str_radix(text, 16).ok().filter(|_| hex);
    match number {
        Some(0) => Err("the first TXID is 0000000000000001".to_owned()),
        Some(number) if text.len() == 16 => Ok(Txid(number)),
        Some(number) => {
            let decimal = text.parse::<u64>().ok().filter(|decimal| *decimal != number);
            let decimal =
                decimal.map_or_else(String::new, |decimal| format!(", or {} if that is decimal", Txid(decimal)));
            Err(format!("expected 16 hexadecimal digits, as in the names of LTX files: {}{decimal}", Txid(number)))
        }
        None => {
            Err("expected 16 hexadecimal digits, as in the names of LTX files, such as 00000000000000ff".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_people_write_them() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let read = |text: &str| instant(text, now, &zone).map(|instant| instant.to_string());
        let half_past_seven = Ok("2026-11-22T07:30:00Z".to_owned());
        for text in [
            "2026-11-22T07:30:00Z",
            "2026-11-22T08:30:00+01:00",
            "2026-11-22 07:30Z",
            "2026-11-22 08:30",
            "2026-11-22 08:30:00",
            "2026-11-22T08:30",
            " 2026-11-22 08:30 ",
            "2h30m",
            "150m",
            "9000s",
            "1h90m",
        ] {
            assert_eq!(read(text), half_past_seven, "{text}");
        }
        assert_eq!(read("2026-11-22 08:30:15.25"), Ok("2026-11-22T07:30:15.25Z".to_owned()));
        for text in ["", "yesterday", "2026-11-22", "08:30", "-2h", "2026-13-01 00:00"] {
            assert!(read(text).unwrap_err().starts_with("expected a time"), "{text}");
        }
        let twice = read("2026-10-25 02:30").unwrap_err();
        assert!(twice.ends_with("use 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"), "{twice}");
    }

    #[test]
    fn an_instant_in_the_future_is_refused() {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let refused = at("2026-11-22T10:00:01Z", now, &TimeZone::UTC).unwrap_err();
        assert_eq!(refused.message, "--at \"2026-11-22T10:00:01Z\": in the future; it is now 2026-11-22 10:00:00Z");
        assert!(refused.hint.is_some_and(|hint| hint.contains("omit --at")));
        assert_eq!(at("2026-11-22T10:00:00Z", now, &TimeZone::UTC), Ok(now));
    }

    #[test]
    fn txids_are_read_as_litestream_reads_them() {
        assert_eq!(txid("00000000000000ff"), Ok(Txid(255)));
        assert_eq!(txid("00000000000000FF"), Ok(Txid(255)));
        assert!(txid("10").unwrap_err().ends_with(": 0000000000000010, or 000000000000000a if that is decimal"));
        assert!(txid("ff").unwrap_err().ends_with(": 00000000000000ff"));
        assert!(txid("5").unwrap_err().ends_with(": 0000000000000005"));
        assert!(txid("0").unwrap_err().starts_with("the first TXID"));
        for text in ["", "x", "+1", "00000000000000fg", "10000000000000000"] {
            assert!(txid(text).unwrap_err().ends_with("such as 00000000000000ff"), "{text}");
        }
    }
}
