//! The answer of a probe query, and whether it is the expected one.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{DrillProbe, DrillResult, ProbeRecord};
use crate::domain::human::spoken;
use crate::domain::limits::DRILL_QUOTE_CHARS_MAX;

/// Numbers above are milliseconds since 1970, not seconds: as seconds this would be the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// The one value of the one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The query gave no row.
    NoRow,
    /// It gave more than one row, or more than one column.
    Several,
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// So many bytes.
    Blob(usize),
}

impl Answer {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Real(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Integer(value) => Some(value.to_string()),
            // As SQLite writes them: a whole number keeps its point.
            Self::Real(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(format!("{value:.1}")),
            Self::Real(value) => Some(value.to_string()),
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Unix seconds or milliseconds, or a date text as SQLite writes it (`2026-11-22`, `2026-11-22 08:30[:15[.123]]`,
    /// with `T` or a blank, in UTC unless it has an offset).
    fn instant(&self) -> Option<Timestamp> {
        let of_number = |value: f64| {
            let milliseconds = if value.abs() >= MILLISECONDS_FROM { value } else { value * 1000.0 };
            Timestamp::from_millisecond(milliseconds as i64).ok().filter(|_| milliseconds.is_finite())
        };
        match self {
            Self::Text(text) => {
                let text = text.trim();
                let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
                text.parse().ok().or_else(|| Some(civil()?.timestamp())).or_else(|| of_number(text.parse().ok()?))
            }
            _ => of_number(self.number()?),
        }
    }

    /// For a person; shortened, without control characters.
    fn shown(&self) -> String {
        match self {
            Self::NoRow => "no row".to_owned(),
            Self::Several => "several rows or values".to_owned(),
            Self::Null => "NULL".to_owned(),
            Self::Blob(bytes) => format!("a blob of {bytes} bytes"),
            other => quoted(&other.text().unwrap_or_default()),
        }
    }
}

/// Text from a database, for a person: shortened, without control characters.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(DRILL_QUOTE_CHARS_MAX)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Compares an answer with what was expected of it when the drill started.
pub fn judge(probe: &DrillProbe, answer: &Answer, started: Timestamp) -> ProbeRecord {
    let expect = &probe.expect;
    let mut wrong = Vec::new();
    let mut value = answer.number();
    if matches!(answer, Answer::NoRow | Answer::Several) {
        let detail = format!("{}: expected one row of one value", answer.shown());
        return ProbeRecord { name: probe.name.clone(), result: DrillResult::Failed, value: None, detail };
    }
    if let Some(max_age) = expect.max_age {
        value = None;
        match answer.instant() {
            Some(at) => {
                let age = started.duration_since(at).max(SignedDuration::ZERO).as_secs_f64();
                value = Some(age);
                if age > max_age.as_secs_f64() {
                    let most = spoken(max_age.as_secs_f64());
                    wrong.push(format!("it is {} old, at most {most} is allowed", spoken(age)));
                }
            }
            None => wrong.push("expected a point in time: Unix seconds or milliseconds, or a date as text".to_owned()),
        }
    }
    let number = answer.number();
    let low = expect.min.filter(|min| !number.is_some_and(|number| number >= *min));
    wrong.extend(low.map(|min| format!("expected at least {min}")));
    let high = expect.max.filter(|max| !number.is_some_and(|number| number <= *max));
    wrong.extend(high.map(|max| format!("expected at most {max}")));
    let other = expect.equals.as_ref().filter(|equals| answer.text().as_ref() != Some(*equals));
    wrong.extend(other.map(|equals| format!("expected {}", quoted(equals))));
    let result = if wrong.is_empty() { DrillResult::Passed } else { DrillResult::Failed };
    let shown = answer.shown();
    let detail = if wrong.is_empty() { shown } else { format!("{shown}: {}", wrong.join(", ")) };
    ProbeRecord { name: probe.name.clone(), result, value, detail }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::drill::Expectation;

    const STARTED: i64 = 1_795_336_200;

    fn check(expect: Expectation, answer: &Answer) -> (DrillResult, Option<f64>, String) {
        let probe = DrillProbe { name: "p".into(), query: String::new(), expect };
        let record = judge(&probe, answer, Timestamp::from_second(STARTED).unwrap());
        (record.result, record.value, record.detail)
    }

    fn text(text: &str) -> Answer {
        Answer::Text(text.into())
    }

    #[test]
    fn ages_are_read_from_all_that_sqlite_programs_write() {
        let at = Timestamp::from_second(STARTED - 60).unwrap();
        let written = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let day = Expectation { max_age: Some(Duration::from_secs(60)), ..Default::default() };
        let answers = [
            Answer::Integer(STARTED - 60),
            Answer::Integer((STARTED - 60) * 1000),
            Answer::Real((STARTED - 60) as f64),
            text(&(STARTED - 60).to_string()),
            text(&written),
            text(&written.replace(' ', "T")),
            text(&format!("{written}.000")),
            text(&format!("{written}Z")),
            text(&format!("{written}+00:00")),
            text(at.strftime("%Y-%m-%d %H:%M").to_string().as_str()),
        ];
        for answer in answers {
            let (result, value, detail) = check(day.clone(), &answer);
            assert_eq!(result, DrillResult::Passed, "{answer:?}: {detail}");
            assert!((60.0..120.0).contains(&value.unwrap()), "{answer:?}");
        }
        let (result, _, detail) = check(day.clone(), &Answer::Integer(STARTED - 61));
        assert_eq!(
            (result, detail.ends_with("it is 1 min 1 s old, at most 1 min 0 s is allowed")),
            (DrillResult::Failed, true)
        );
        assert_eq!(check(day.clone(), &Answer::Integer(STARTED + 10)).1, Some(0.0), "clocks differ a little");
        for answer in [Answer::Null, Answer::NoRow, text("yesterday"), Answer::Real(f64::NAN), Answer::Blob(3)] {
            let (result, value, _) = check(day.clone(), &answer);
            assert_eq!((result, value), (DrillResult::Failed, None), "{answer:?}");
        }
    }

    #[test]
    fn bounds_and_equality_all_have_to_hold() {
        let expect =
            |min, max, equals: Option<&str>| Expectation { max_age: None, min, max, equals: equals.map(str::to_owned) };
        let cases = [
            (expect(Some(1.0), Some(3.0), None), Answer::Integer(3), DrillResult::Passed),
            (expect(Some(1.0), Some(2.0), None), Answer::Integer(3), DrillResult::Failed),
            (expect(Some(4.0), None, None), Answer::Integer(3), DrillResult::Failed),
            (expect(Some(1.0), None, Some("4")), Answer::Integer(3), DrillResult::Failed),
            (expect(None, None, Some("ok")), text("ok"), DrillResult::Passed),
            (expect(None, None, Some("1.0")), Answer::Real(1.0), DrillResult::Passed),
            (expect(None, None, Some("ok")), Answer::Null, DrillResult::Failed),
            (expect(Some(0.0), None, None), Answer::Null, DrillResult::Failed),
            (expect(Some(0.0), None, None), Answer::Real(f64::NAN), DrillResult::Failed),
            (expect(None, None, None), Answer::Several, DrillResult::Failed),
            (expect(None, None, None), Answer::NoRow, DrillResult::Failed),
        ];
        for (expect, answer, result) in cases {
            assert_eq!(check(expect.clone(), &answer).0, result, "{expect:?} {answer:?}");
        }
    }

    #[test]
    fn an_answer_cannot_fill_the_report_or_drive_a_terminal() {
        let (_, _, detail) = check(Expectation::default(), &text(&format!("\u{1b}[2J{}", "x".repeat(10_000))));
        assert!(detail.chars().count() <= DRILL_QUOTE_CHARS_MAX + 1 && !detail.contains('\u{1b}'), "{detail}");
    }
}
