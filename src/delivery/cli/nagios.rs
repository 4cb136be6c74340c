//! A report as the one line that Nagios and its kin expect of a plugin: state, sentence, performance data.

use super::blocks::counted;
use super::overview::lines;
use crate::domain::human;
use crate::domain::limits::OVERVIEW_NAMES_MAX;
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::verdict::Word;

/// `STREAMGAUGE CRITICAL: 1 critical, 3 ok; orders: ReplicationLag | databases=4;;;0 …`. The lag is the greatest that is
/// known, with the objective of its database; `lag_unknown` counts the databases that have none.
pub fn nagios(report: &Report) -> String {
    let lines = lines(report);
    let mut text = if report.assessment.databases.is_empty() { "no databases found".into() } else { counted(&lines) };
    let bad: Vec<_> = lines.iter().filter(|line| line.word > Word::Ok).collect();
    for line in bad.iter().take(OVERVIEW_NAMES_MAX) {
        text += &format!("; {}: {}", line.name, line.fails());
    }
    if bad.len() > OVERVIEW_NAMES_MAX {
        text += &format!("; and {} more", bad.len() - OVERVIEW_NAMES_MAX);
    }
    let databases = || lines.iter().filter(|line| line.database.is_some());
    let count = |word| format!("{}={};;;0", Word::as_str(word), databases().filter(|line| line.word == word).count());
    let watched = lines.iter().filter_map(|line| line.database.map(|database| (database, line.safest())));
    let lags = watched.clone().filter_map(|(database, replica)| Some((replica?.lag_seconds?, database.rpo_seconds)));
    let known = lags.clone().count();
    let lag = lags.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let lag = lag.map_or_else(|| "U".to_owned(), |(lag, rpo)| format!("{}s;;{rpo};0", (lag * 1000.0).round() / 1000.0));
    let all = report.assessment.databases.len();
    let at_risk: Option<u64> = watched.map(|(_, replica)| replica?.at_risk()).sum();
    let at_risk = at_risk.map_or_else(|| "U".to_owned(), |bytes| format!("{bytes}B;;;0"));
    let counts = [Word::Critical, Word::Unknown, Word::Warning].map(count).join(" ");
    let lag_unknown = all - known;
    said(
        report.word(),
        &text,
        &format!(" | databases={all};;;0 {counts} lag={lag} lag_unknown={lag_unknown};;;0 at_risk={at_risk}"),
    )
}

/// The line where there is no report at all.
pub fn unknown(reason: &Reason) -> String {
    said(Word::Unknown, &reason.to_string().replace('\n', "; "), "")
}

/// What stands behind a bar is performance data.
fn said(word: Word, text: &str, data: &str) -> String {
    let word = word.as_str().to_uppercase();
    format!("STREAMGAUGE {word}: {}{data}\n", human::printable(text).replace('|', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::{Judge, Watching};
    use crate::domain::report::sample;

    #[test]
    fn one_line_has_state_sentence_and_data() {
        let mut report = sample::report(vec![sample::pending("or|ders"), sample::healthy("shop")]);
        report.verdicts = Judge::new(Watching::Once).judge(&report.assessment, report.generated_at);
        let line = nagios(&report);
        assert!(line.starts_with("STREAMGAUGE CRITICAL: 1 critical, "), "{line}");
        assert!(line.contains("; or/ders: Replica"), "{line}");
        let (_, data) = line.split_once(" | ").unwrap();
        assert!(data.starts_with("databases=2;;;0 critical=1;;;0 unknown=0;;;0 warning="), "{data}");
        assert!(data.ends_with(" lag=400s;;300;0 lag_unknown=0;;;0 at_risk=U\n"), "what does not restore: {data}");
        assert_eq!((line.matches('\n').count(), line.matches('|').count()), (1, 1), "{line}");
        let mut waiting = sample::healthy("shop");
        waiting.replicas[0].unreplicated_bytes = Some(20_600);
        let line = nagios(&sample::report(vec![waiting, sample::healthy("blog")]));
        assert!(line.ends_with(" at_risk=20600B;;;0\n"), "{line}");
    }

    #[test]
    fn what_is_unknown_is_no_number() {
        let mut report = sample::report(vec![sample::unknown("app")]);
        report.verdicts = Judge::new(Watching::Once).judge(&report.assessment, report.generated_at);
        let line = nagios(&report);
        assert!(line.contains(" lag=U lag_unknown=1;;;0 at_risk=U\n"), "{line}");
        let nothing = nagios(&sample::report(Vec::new()));
        assert!(nothing.starts_with("STREAMGAUGE UNKNOWN: no databases found | databases=0;;;0 "), "{nothing}");
        let reason = Reason::new(crate::domain::reason::ReasonKind::Misconfigured, "one\ntwo | three");
        assert_eq!(unknown(&reason), "STREAMGAUGE UNKNOWN: one; two / three\n");
    }
}
