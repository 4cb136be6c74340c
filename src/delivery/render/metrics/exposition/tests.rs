//! Whatever happened between two reports, what is scraped is what rendering all of the second one gives.

use std::collections::BTreeSet;
use std::io::Read;

use proptest::prelude::*;

use super::families::numbers;
use super::groups::differing;
use super::*;
use crate::delivery::render::metrics::{openmetrics, to_text};
use crate::domain::assessment::DatabaseReport;
use crate::domain::check::{Judge, Watching};
use crate::domain::profile::{Profile, Selection};
use crate::domain::report::sample;

fn text(exposition: &Arc<Exposition>, format: Format, gzip: bool) -> String {
    let pieces = exposition.pieces(format, gzip);
    let length = pieces.left();
    let bytes = pieces.collect::<Vec<_>>().concat();
    assert_eq!(bytes.len() as u64, length, "{format:?} {gzip}");
    let mut text = String::new();
    match gzip {
        true => flate2::bufread::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("one gzip file"),
        false => bytes.as_slice().read_to_string(&mut text).expect("text"),
    };
    text
}

fn check(exposition: &Arc<Exposition>, report: &Arc<Report>) {
    let whole = openmetrics(report);
    for gzip in [false, true] {
        assert!(text(exposition, Format::OpenMetrics, gzip) == whole, "OpenMetrics, gzip {gzip}");
        assert!(text(exposition, Format::Text, gzip) == to_text(&whole), "text, gzip {gzip}");
    }
}

fn after(before: Option<&Arc<Exposition>>, report: &Arc<Report>) -> Arc<Exposition> {
    Arc::new(Exposition::after(before.map(|before| &**before), report, &Held::default()))
}

/// One of many databases that differ in all kinds of ways.
fn database(name: &str, kind: usize, value: u64) -> DatabaseReport {
    let kinds = [sample::healthy, sample::pending, sample::drilled, sample::unknown, sample::observed];
    let mut database = kinds[kind % kinds.len()](name);
    if let Some(local) = database.local_mut() {
        local.size_bytes = value;
        local.counters.commits = value / 2;
    }
    if let Some(replica) = database.replicas.first_mut() {
        replica.lag_seconds =
            [None, Some(0.0), Some(-0.0), Some(value as f64 / 3.0), Some(f64::NAN)][value as usize % 5];
    }
    if value.is_multiple_of(7) {
        database.replicas.clear();
    }
    database.metrics = Profile::ALL[value as usize % Profile::ALL.len()];
    database
}

/// What happens to a database: it is there (or not), as it was, as an equal copy, or as another.
fn step() -> impl Strategy<Value = Vec<(usize, u8, usize, u64)>> {
    proptest::collection::vec((0..150_usize, 0..10_u8, 0..5_usize, 0..12_u64), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn what_is_made_of_the_one_before_is_what_is_made_anew(
        steps in proptest::collection::vec((step(), 0..4_u8, proptest::bool::weighted(0.2)), 1..6)
    ) {
        let mut databases: Vec<_> = (0..120).map(|n| Arc::new(database(&format!("app-{n:03}"), n, n as u64))).collect();
        let (mut judge, mut before) = (Judge::new(Watching::Continuously), None);
        for (changes, order, selected) in steps {
            for (at, what, kind, value) in changes {
                let name = format!("app-{at:03}");
                let place = databases.iter().position(|database| *database.name == *name);
                match (place, what) {
                    (Some(place), 0) => _ = databases.remove(place),
                    (Some(place), 1) => databases[place] = Arc::new((*databases[place]).clone()),
                    (Some(place), _) => databases[place] = Arc::new(database(&name, kind, value)),
                    (None, _) => databases.push(Arc::new(database(&name, kind, value))),
                }
            }
            match order {
                0 => databases.reverse(),
                1 => {
                    let third = databases.len() / 3;
                    databases.rotate_left(third);
                }
                _ => databases.sort_by(|one, other| one.name.cmp(&other.name)),
            }
            let mut report = sample::full();
            report.assessment.databases.clone_from(&databases);
            if selected {
                let exclude = BTreeSet::from(["streamgauge_replica_up", "streamgauge_check_status"]);
                let most = Some(Profile::Standard);
                report.assessment.selection = Arc::new(Selection { exclude, most, ..Selection::default() });
            }
            report.verdicts = judge.judge(&report.assessment, sample::now());
            let report = Arc::new(report);
            let exposition = after(before.as_ref(), &report);
            check(&exposition, &report);
            before = Some(exposition);
        }
    }
}

#[test]
fn only_what_changed_is_made_again() {
    let databases = (0..300).map(|n| database(&format!("app-{n:03}"), 0, 5)).collect();
    let mut report = sample::report(databases);
    let first = after(None, &Arc::new(report.clone()));
    let groups = |exposition: &Exposition| exposition.text.databases.groups.clone();
    assert!(groups(&first).len() > 8, "{} groups", groups(&first).len());
    let again = after(Some(&first), &Arc::new(report.clone()));
    assert!(Arc::ptr_eq(&first.text.databases, &again.text.databases), "nothing is gone through");

    report.assessment.databases[150] = Arc::new(database("app-150", 0, 20));
    let changed = Arc::new(report.clone());
    let second = after(Some(&again), &changed);
    check(&second, &changed);
    let both = groups(&first).into_iter().zip(groups(&second)).zip(first.groups());
    let made: Vec<_> = both.filter(|((before, now), _)| !Arc::ptr_eq(before, now)).collect();
    let [((before, now), earlier)] = &made[..] else { panic!("its group, and not {}", made.len()) };
    let members = earlier.changed(&changed, &earlier.range).expect("as many");
    assert_eq!(members.len(), 1);
    let bytes = |group: &Group, number| group.samples.get(number).map(|piece| piece.bytes.to_vec());
    let differ = differing(&members, &changed.assessment.selection);
    let differ: Vec<_> = differ.iter().map(|(_, number)| number.name).collect();
    let made = numbers().filter(|(number, _)| bytes(before, *number) != bytes(now, *number));
    let made: Vec<_> = made.map(|(_, number)| number.name).collect();
    assert_eq!(differ, made);
    assert!((1..=8).contains(&made.len()), "the numbers that changed");

    report.assessment.databases.insert(10, Arc::new(database("app-009-new", 0, 5)));
    let third = after(Some(&second), &Arc::new(report));
    let kept = |group: &Arc<Group>| groups(&second).iter().any(|before| Arc::ptr_eq(before, group));
    assert!(groups(&third).iter().filter(|group| !kept(group)).count() <= 3, "the group of the new one, and the next");
}
