//! A check of what is uploaded although nothing happens.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::replica::as_far_as_read;
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::human::spoken;
use crate::domain::number::replica::REPEATED;
use crate::domain::verdict::Severity;

/// A file every three or four seconds, for an hour.
const OBJECTS_MAX: f64 = 1000.0;

pub(super) static CHECKS: &[Check] = &[Check {
    name: "ReplicaChurn",
    title: "Litestream uploads nothing while the database is idle",
    summary: "{database}: the same pages are uploaded to {replica} over and over",
    description: "{value} files of replica {replica} of {database} appeared within an hour, and all that were read \
                  change the same pages. You pay for each as a request.",
    action: "If the application is idle, Litestream is committing to its own table without end, as release 0.5.5 \
             does: upgrade it. If the application keeps updating the same row, raise Litestream's `sync-interval`.",
    unit: Unit::Count,
    rules: &[rule(Severity::Warning, REPEATED.exceeds(OBJECTS_MAX), 60)],
    explain: |context, on| churn(context, on.database()?, on.replica()?),
}];

fn churn(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let churn = replica.keeping.churn?;
    if context.failing.is_none() {
        let detail = match churn.objects {
            0 | 1 => "no file changes the same pages as the one before".to_owned(),
            count => format!("{count} files in a row change {}", same(churn.pages)),
        };
        return as_far_as_read(context, replica, detail);
    }
    let cost = match churn.dollars_per_month {
        little if little < 0.01 => String::new(),
        dollars => format!(", which costs about ${dollars:.2} a month"),
    };
    Some(Explanation::Known(format!(
        "each of the last {} files changes {}, within {}{cost}; if the application is idle, this is a bug in \
         Litestream 0.5.5: upgrade",
        churn.objects,
        same(churn.pages),
        spoken(churn.seconds),
    )))
}

fn same(pages: u64) -> String {
    if pages == 1 { "the same page".to_owned() } else { format!("the same {pages} pages") }
}

#[cfg(test)]
mod tests {
    use super::super::Watching;
    use super::super::judge::on_database;
    use super::super::tests::{NOW, at, database, replica};
    use super::*;
    use crate::domain::assess::churn::ChurnReport;
    use crate::domain::assessment::KeepingReport;
    use crate::domain::verdict::Status;

    fn check(churn: Option<ChurnReport>, expected: &str) {
        let replica = ReplicaReport { keeping: KeepingReport { churn, ..KeepingReport::default() }, ..replica() };
        let verdicts = on_database(&database(replica), at(NOW), Watching::Continuously);
        let found = verdicts.into_iter().find(|verdict| verdict.check == "ReplicaChurn");
        let told = found.map_or_else(String::new, |verdict| {
            let severity = if verdict.status == Status::Fail { verdict.severity.as_str() } else { "" };
            format!("{} {severity}: {}", verdict.status.as_str(), verdict.detail)
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn the_same_pages_over_and_over_are_a_warning_with_what_they_cost() {
        let churn = |objects, pages, dollars_per_month| {
            Some(ChurnReport { seconds: 3600.0, objects, pages, dollars_per_month })
        };
        check(
            churn(3600, 1, 13.15),
            "fail warning: each of the last 3600 files changes the same page, within 1 h 0 min, which costs about \
             $13.15 a month; if the application is idle, this is a bug in Litestream 0.5.5: upgrade",
        );
        check(
            churn(1001, 3, 0.0),
            "fail warning: each of the last 1001 files changes the same 3 pages, within 1 h 0 min; if the application \
             is idle, this is a bug in Litestream 0.5.5: upgrade",
        );
        check(churn(1000, 2, 1.0), "pass : 1000 files in a row change the same 2 pages");
        check(churn(0, 1, 0.0), "pass : no file changes the same pages as the one before");
        check(None, "");
    }
}
