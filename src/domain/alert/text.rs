//! The texts of an alert.

use std::collections::BTreeMap;

use super::super::alerting::Alerting;
use super::super::check::{Check, Unit};
use super::super::human::{spoken, spoken_bytes};
use super::super::verdict::Severity;
use super::SEEN;

/// The labels of an alert: those of Prometheus, with the same values.
pub(super) fn labels(
    alerting: &Alerting,
    check: &Check,
    severity: Severity,
    values: &[String],
) -> BTreeMap<String, String> {
    let mut labels = alerting.labels.clone();
    labels.insert("alertname".to_owned(), check.name.to_owned());
    labels.insert("severity".to_owned(), severity.as_str().to_owned());
    for (label, value) in check.scope().labels().iter().zip(values) {
        labels.insert((*label).to_owned(), value.clone());
    }
    labels
}

/// Everything of [`annotations`] that takes the evidence.
pub(super) fn description(check: &Check, values: &[String], value: f64, detail: Option<&str>) -> String {
    let mut text = check.fill(check.description, values).replace("{value}", &write(check.unit, value));
    if let Some(detail) = detail {
        text.push_str(SEEN);
        text.push_str(detail);
        if !detail.ends_with(['.', '!', '?']) {
            text.push('.');
        }
    }
    text
}

/// The annotations of an alert.
pub(super) fn annotations(
    alerting: &Alerting,
    check: &Check,
    values: &[String],
    description: String,
) -> BTreeMap<String, String> {
    let runbook = format!("{}#{}", alerting.runbook_url, check.name.to_lowercase());
    let texts = [
        ("summary", check.fill(check.summary, values)),
        ("description", description),
        ("action", check.fill(check.action, values)),
        ("runbook_url", runbook),
    ];
    let dashboard = alerting.dashboard_url.iter().map(|url| ("dashboard_url", url.clone()));
    texts.into_iter().chain(dashboard).map(|(name, text)| (name.to_owned(), text)).collect()
}

/// A number as a person reads it.
fn write(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds if value < 0.0 => format!("-{}", spoken(-value)),
        Unit::Seconds => spoken(value),
        Unit::Ratio => format!("{:.1} %", value * 100.0),
        Unit::Dollars => format!("${value:.2}"),
        Unit::Count if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count => format!("{value:.2}"),
        Unit::Bytes => spoken_bytes(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_their_unit() {
        let check = |unit, value, expected| assert_eq!(write(unit, value), expected);
        check(Unit::Seconds, 320.0, "5 min 20 s");
        check(Unit::Ratio, 0.815, "81.5 %");
        check(Unit::Dollars, 1.5, "$1.50");
        check(Unit::Count, 3.0, "3");
        check(Unit::Count, 0.25, "0.25");
        check(Unit::Bytes, 1000.0, "1000 bytes");
        check(Unit::Bytes, 1024.0, "1.0 KiB");
        check(Unit::Bytes, 5e9, "4.7 GiB");
        check(Unit::Bytes, f64::INFINITY, "inf EiB");
    }
}
