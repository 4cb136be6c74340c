//! Checks of what spot checks compared: is the content of the replica that of the live database.

use super::entry::{Check, Context, Explanation, Unit, Watching, rule};
use super::expression::Term;
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::human::{agree, and_more, counted};
use crate::domain::number::content::{SPOT_COMPARED_AT, SPOT_INTERVAL, SPOT_MISMATCH};
use crate::domain::number::replica::WATCHED_SINCE;
use crate::domain::spot::SpotReport;
use crate::domain::verdict::Severity;

/// Nothing may be compared for so long, and for three intervals, before anyone is told.
const PATIENCE_SECONDS: f64 = 86_400.0;

static AGE: Term = Term::Difference(&Term::Now, &Term::Else(&SPOT_COMPARED_AT, &WATCHED_SINCE));

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "ContentMismatch",
        title: "Pages chosen at random match the live database",
        summary: "{database}: the content of {replica} differs from the database",
        description: "Pages of replica {replica} of {database} differ from the live database at the same position, in \
                      two looks in a row: a restore would not give you this database.",
        action: "Find the page and the object with `streamgauge check --verify content`. Keep the replica; give \
                 Litestream a new, empty path, run `litestream reset` on the database, and start Litestream.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, SPOT_MISMATCH.is(1.0), 0)],
        explain: |context, on| mismatch(context, on.database()?, on.replica()?),
    },
    Check {
        name: "ContentUncompared",
        title: "The replica can be compared with the live database",
        summary: "{database}: {replica} has not been compared with the database for a long time",
        description: "For {value}, no page of replica {replica} of {database} could be compared with the live \
                      database: whether they hold the same content is unknown.",
        action: "Find the reason with `streamgauge check --verify content`: a WAL that the replica never reaches, a \
                 budget that is used up, or objects that cannot be read.",
        unit: Unit::Seconds,
        rules: &[rule(
            Severity::Warning,
            AGE.above(Term::Sum(&Term::Times(&SPOT_INTERVAL, 3.0), &Term::Constant(PATIENCE_SECONDS))),
            60,
        )],
        explain: |context, on| uncompared(context, on.database()?, on.replica()?),
    },
];

/// What was compared; `None` where nothing is said: nothing can be, or the first comparison is not overdue yet.
fn compared<'a>(context: &Context, replica: &'a ReplicaReport) -> Option<&'a SpotReport> {
    let spot = replica.compared()?;
    let since = context.now.duration_since(replica.watched_since).as_secs_f64();
    let awaited = context.watching == Watching::Continuously
        && spot.conclusive_at.is_none()
        && spot.not_compared.is_none()
        && spot.mismatches.is_empty()
        && spot.interval_seconds.is_some_and(|interval| since < interval);
    (!awaited).then_some(spot)
}

fn mismatch(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let spot = compared(context, replica)?;
    if let Some(first) = spot.mismatches.first() {
        let more = and_more(spot.mismatches.len());
        let since = context.age(first.since);
        let (page, txid, key) = (first.page, first.txid, &first.key);
        let detail =
            format!("page {page} in {key} has differed from the live database for {since}, at TXID {txid}{more}");
        return Some(Explanation::Known(detail));
    }
    let why = || spot.not_compared.clone().unwrap_or_else(|| "no page has been compared yet".to_owned());
    Some(match spot.conclusive_at {
        None => Explanation::Unknown(why()),
        // What was compared before says nothing of now.
        Some(_) if context.watching == Watching::Once && spot.last_compared == 0 => Explanation::Unknown(why()),
        Some(at) if context.now.duration_since(at).as_secs_f64() > PATIENCE_SECONDS => Explanation::Unknown(why()),
        Some(at) => {
            let age = context.age(at);
            let (pages, were) = (counted(spot.pages_compared, "page"), agree(&spot.pages_compared, "was", "were"));
            Explanation::Known(format!("{pages} {were} compared and equal, the last {age} ago"))
        }
    })
}

/// One look says nothing of how long that has been so.
fn uncompared(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let spot = compared(context, replica)?;
    if context.watching == Watching::Once {
        return None;
    }
    let why = spot.not_compared.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    Some(match spot.conclusive_at {
        Some(at) => {
            let why = if context.failing.is_some() { &why } else { "" };
            Explanation::Known(format!("compared {} ago{why}", context.age(at)))
        }
        None if context.failing.is_some() => {
            Explanation::Known(format!("never compared in {}{why}", context.age(replica.watched_since)))
        }
        None => Explanation::Unknown(format!("not compared yet{why}")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::judge::on_database;
    use super::super::tests::{NOW, at, database, replica};
    use super::*;
    use crate::domain::litestream::Txid;
    use crate::domain::spot::SpotMismatch;
    use crate::domain::verdict::Status;

    /// The two checks' verdicts on this.
    fn told(spot: SpotReport, watched_since: i64, watching: Watching) -> Vec<String> {
        let spot = Some(SpotReport { interval_seconds: spot.interval_seconds.or(Some(3600.0)), ..spot });
        let database = database(ReplicaReport { spot, watched_since: at(watched_since), ..replica() });
        let verdicts = on_database(&database, at(NOW), watching);
        let ours = verdicts.iter().filter(|verdict| verdict.check.starts_with("Content"));
        ours.map(|v| format!("{} {} {}: {}", v.check, v.status.as_str(), v.severity.as_str(), v.detail)).collect()
    }

    #[test]
    fn a_page_that_differs_is_critical_and_named() {
        let known = SpotMismatch { page: 7, key: "ltx/0/9".into(), txid: Txid(16), since: at(NOW - 60) };
        let spot = SpotReport { mismatches: vec![known], conclusive_at: Some(at(NOW - 60)), ..SpotReport::default() };
        let said = told(spot, NOW - 100, Watching::Continuously);
        let expected = "ContentMismatch fail critical: page 7 in ltx/0/9 has differed from the live database for 1 \
                        min 0 s, at TXID 0000000000000010";
        assert_eq!(said[0], expected);
    }

    #[test]
    fn what_will_be_compared_within_the_first_interval_is_not_unknown() {
        let said = |ago| told(SpotReport::default(), NOW - ago, Watching::Continuously);
        assert_eq!(said(3599), [""; 0]);
        assert_eq!(said(3600)[0], "ContentMismatch unknown critical: no page has been compared yet");
        let once = told(SpotReport::default(), NOW, Watching::Once);
        assert_eq!(once, ["ContentMismatch unknown critical: no page has been compared yet"]);
    }

    #[test]
    fn what_was_not_compared_does_not_pass() {
        let why = SpotReport { not_compared: Some("why".into()), ..SpotReport::default() };
        let unknown = "ContentMismatch unknown critical: why";
        assert_eq!(
            told(why.clone(), NOW - 100, Watching::Continuously),
            [unknown, "ContentUncompared unknown warning: not compared yet: why"]
        );
        assert_eq!(told(why.clone(), NOW - 100, Watching::Once), [unknown], "one look does not say for how long");
        let long = NOW - 86_400 - 3 * 3600 - 1;
        let said = told(why.clone(), long, Watching::Continuously);
        assert_eq!(said[1], "ContentUncompared fail warning: never compared in 1 d 3 h: why");
        let compared = |ago| SpotReport { conclusive_at: Some(at(NOW - ago)), pages_compared: 5, ..why.clone() };
        let said = told(compared(3600), long, Watching::Continuously);
        assert_eq!(said[0], "ContentMismatch pass critical: 5 pages were compared and equal, the last 1 h 0 min ago");
        assert!(said[1].starts_with("ContentUncompared pass"), "{said:?}");
        assert_eq!(told(compared(3600), long, Watching::Once), [unknown]);
        assert!(told(compared(86_401), long, Watching::Continuously)[0].starts_with(unknown));
        let off = ReplicaReport { spot: Some(SpotReport::default()), ..replica() };
        let verdicts = on_database(&database(off), at(NOW), Watching::Continuously);
        assert!(verdicts.iter().all(|verdict| verdict.status == Status::Pass), "nothing is said where nothing can be");
    }
}
