//! Tests of what is kept of how numbers went, and in how many bytes.

use proptest::prelude::*;

use super::series::{Slot, Spans};
use super::*;
use crate::domain::assess::rates::Rates;
use crate::domain::assessment::{DatabaseReport, LocalReport, ReplicaReport};
use crate::domain::limits::{HISTORY_BYTES_MAX, HISTORY_FINE, HISTORY_HOURS};
use crate::domain::number::{database, replica};
use crate::domain::target::TargetName;

const SPANS: Spans = Spans { fine: HISTORY_FINE, hours: HISTORY_HOURS };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// A database of which everything that is recorded is known.
fn healthy(name: &str) -> DatabaseReport {
    let (window_seconds, growth_bytes_per_second) = (900.0, 0.0);
    let (write_transactions_per_second, written_bytes_per_second) = (0.0, 0.0);
    let rates =
        Rates { window_seconds, growth_bytes_per_second, write_transactions_per_second, written_bytes_per_second };
    let replica = ReplicaReport { name: "s3".into(), coverage: Some(Arc::default()), ..ReplicaReport::default() };
    let local = LocalReport { rates: Some(rates), ..LocalReport::default() };
    let (name, local, replicas) = (name.into(), Some(local.into()), vec![replica]);
    let mut report = DatabaseReport { name, local, replicas, ..DatabaseReport::default() };
    busy(&mut report, 0);
    report
}

/// A database of which everything that is recorded is another value each time.
fn busy(report: &mut DatabaseReport, turn: u64) {
    let local = report.local_mut().unwrap();
    (local.size_bytes, local.wal_size_bytes) = (turn * 4096, Some(turn % 7));
    let rates = local.rates.as_mut().unwrap();
    (rates.write_transactions_per_second, rates.written_bytes_per_second) = (turn as f64, turn as f64 * 99.0);
    let replica = &mut report.replicas[0];
    (replica.lag_seconds, replica.unreplicated_bytes) = (Some(turn as f64), Some(turn));
    replica.last_segment_at = Some(at(turn as i64));
    Arc::make_mut(replica.coverage.as_mut().unwrap()).restorable_since = Some(at(turn as i64 - 86_400));
}

/// All values at all instants, which is what history stands for: seconds, and what is unknown as `None`.
type Model = Vec<(u32, Option<u16>)>;

fn series(model: &Model) -> Series {
    let value = |value: Option<u16>| value.map_or(f32::NAN, f32::from);
    let mut series = Series::new(None, 0, model[0].0, value(model[0].1));
    model[1..].iter().for_each(|(at, new)| series.record(*at, value(*new), SPANS));
    series
}

/// The value that a model has at an instant.
fn value_at(model: &Model, at: u32) -> Option<u16> {
    model.iter().rfind(|(changed, _)| *changed <= at).and_then(|(_, value)| *value)
}

fn known(value: f32) -> Option<u16> {
    (!value.is_nan()).then_some(value as u16)
}

fn ordered(slots: &[Slot]) -> bool {
    slots.is_sorted_by(|one, next| one.at < next.at) && slots.iter().all(Slot::is_sound)
}

fn changes(longest: u32) -> impl Strategy<Value = Model> {
    let gap = prop_oneof![4 => 0..90_u32, 1 => 0..=longest];
    let value = prop_oneof![1 => Just(None), 4 => (0..9_u16).prop_map(Some)];
    let sum = |steps: Vec<(u32, Option<u16>)>| {
        steps.into_iter().scan(1_767_225_600, |now, (gap, value)| {
            *now += gap;
            Some((*now, value))
        })
    };
    prop::collection::vec((gap, value), 1..200).prop_map(move |steps| sum(steps).collect())
}

proptest! {
    /// What is read back is the model, to the minute: each slot ends with the value that the model has there, and spans those
    /// that it had meanwhile.
    #[test]
    fn history_is_what_happened(model in changes(50_000)) {
        let mut series = series(&model);
        let now = model.last().unwrap().0;
        series.compact(now, SPANS);
        let slots: Vec<Slot> = series.slots().collect();
        prop_assert!(ordered(&slots));
        let ends = slots.iter().skip(1).map(|next| next.at - 1).chain([now]);
        for (slot, end) in slots.iter().zip(ends) {
            prop_assert_eq!(known(slot.last), value_at(&model, end), "{:?} until {}", slot, end);
            let moments = model.iter().filter(|(at, _)| (slot.at..=end).contains(at)).map(|(at, _)| *at);
            for value in moments.filter_map(|at| value_at(&model, at)) {
                prop_assert!(slot.low <= f32::from(value) && f32::from(value) <= slot.high, "{} in {:?}", value, slot);
            }
        }
        // It reaches back as far as it should: to the first value that was known, or to the beginning of its span.
        let begin = model.iter().find(|(_, value)| value.is_some()).map_or(slots[0].at, |(at, _)| *at);
        prop_assert!(slots[0].at <= begin.max(now - HISTORY_HOURS));
        // And it is small.
        let fine = slots.iter().filter(|slot| slot.at >= now - HISTORY_FINE);
        prop_assert!(fine.is_sorted_by(|one, next| next.at - one.at >= 60));
        prop_assert!(slots.len() as u32 <= HISTORY_FINE / 60 + HISTORY_HOURS / 3600 + 3);
    }

    #[test]
    fn a_clock_that_is_put_leaves_no_future_and_no_disorder(
        steps in prop::collection::vec((prop_oneof![8 => -90..600_i64, 1 => -900_000..900_000_i64], 0..9_u16), 1..200),
    ) {
        let mut recorder = Recorder::default();
        let mut report = healthy("app");
        let mut now = 0;
        for (step, value) in steps {
            now += step;
            report.replicas[0].lag_seconds = Some(f64::from(value)).filter(|value| *value > 0.0);
            recorder.record(&report, at(now));
            let points = recorder.history().series("app", Some("s3"), &replica::LAG);
            prop_assert!(points.is_sorted_by(|one, next| one.at < next.at));
            if let Some(last) = points.last() {
                prop_assert!(last.at <= at(now));
                prop_assert_eq!(last.value, report.replicas[0].lag_seconds);
            }
            let counted = recorder.bytes();
            recorder.compact(at(now).as_second() as u32);
            prop_assert!(recorder.bytes() <= counted, "what is counted is what is there");
        }
    }

    #[test]
    fn what_is_saved_is_what_is_read(models in prop::collection::vec(changes(5_000), 1..4)) {
        let all = models.iter().zip(4..).map(|(model, number)| {
            let mut series = series(model);
            (series.number, series.replica) = (number, Some("s3".into()));
            series
        });
        let history = DatabaseHistory { base: 7, series: all.collect() };
        let text = saved::write(&history);
        prop_assert_eq!(saved::read(&text, u32::MAX), Ok(history.clone()));
        // Of a clock that was put back, only what is past.
        let now = models[0][models[0].len() / 2].0;
        let read = saved::read(&text, now).unwrap();
        prop_assert!(read.series.iter().flat_map(Series::slots).all(|slot| slot.at <= now));
    }

    #[test]
    fn whatever_was_saved_is_read_or_refused(
        model in changes(5_000), cut in 0..400_usize, at in 0..400_usize, byte: u8, noise in "\\PC{0,64}",
    ) {
        let mut bytes = base64(&saved::write(&DatabaseHistory { base: 0, series: vec![series(&model)] }));
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut));
        for text in [aws_smithy_types::base64::encode(bytes), noise] {
            if let Ok(history) = saved::read(&text, u32::MAX) {
                prop_assert!(history.series.iter().all(|series| ordered(&series.slots().collect::<Vec<_>>())));
            }
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    aws_smithy_types::base64::decode(text).unwrap()
}

#[test]
fn instants_are_instants_and_what_is_unknown_is_a_gap() {
    let mut recorder = Recorder::default();
    let mut report = healthy("app");
    busy(&mut report, 5);
    recorder.record(&report, at(0));
    report.local = None;
    recorder.record(&report, at(100));
    let history = recorder.history();
    let since = history.series("app", Some("s3"), &replica::RESTORABLE_SINCE);
    assert_eq!(since[0].value, Some(at(5 - 86_400).as_second() as f64));
    let sizes = history.series("app", None, &database::SIZE_BYTES);
    let values: Vec<_> = sizes.iter().map(|point| (point.at, point.value)).collect();
    assert_eq!(values, [(at(0), Some(5.0 * 4096.0)), (at(100), None)]);
    assert_eq!(history.since("app"), Some(at(0)));
    assert_eq!(history.since("other"), None);
    assert!(history.series("app", None, &database::UP).is_empty(), "not recorded");
    assert!(history.series("app", Some("other"), &replica::LAG).is_empty());
}

#[test]
fn every_recorded_number_is_one_value() {
    let mut recorder = Recorder::default();
    let mut report = healthy("app");
    busy(&mut report, 1);
    recorder.record(&report, at(0));
    for number in RECORDED {
        let replica = (number.scope == replica::LAG.scope).then_some("s3");
        assert_eq!(recorder.history().series("app", replica, number).len(), 1, "{}", number.name);
    }
}

#[test]
fn what_stands_still_costs_nothing_and_is_not_saved_again() {
    let mut recorder = Recorder::default();
    let report = healthy("app");
    recorder.record(&report, at(0));
    let (bytes, before) = (recorder.bytes(), recorder.history());
    assert_eq!(recorder.unsaved().len(), 1);
    for minute in 1..600 {
        recorder.record(&report, at(minute * 60));
        recorder.tidy(at(minute * 60));
    }
    assert_eq!((recorder.bytes(), recorder.unsaved()), (bytes, Vec::new()));
    assert!(Arc::ptr_eq(recorder.history().get("app").unwrap(), before.get("app").unwrap()));
    assert!(bytes < 700, "{bytes} bytes");
}

#[test]
fn history_goes_with_the_database_and_with_its_name() {
    let mut recorder = Recorder::default();
    for name in ["a", "b", "c"] {
        let mut report = healthy(name);
        busy(&mut report, name.as_bytes()[0].into());
        recorder.record(&report, at(0));
    }
    let size = |recorder: &Recorder, name| recorder.history().series(name, None, &database::SIZE_BYTES)[0].value;
    let (a, b) = (size(&recorder, "a"), size(&recorder, "b"));
    let [one, other] = ["a", "b"].map(TargetName::from);
    recorder.rename([(&one, &other), (&other, &one)].into_iter(), at(0));
    assert_eq!((size(&recorder, "a"), size(&recorder, "b")), (b, a));
    let mut report = healthy("a");
    report.replicas[0].name = "other".into();
    recorder.record(&report, at(1));
    assert!(recorder.history().series("a", Some("s3"), &replica::LAG).is_empty());
    ["a", "b", "c"].iter().for_each(|name| recorder.forget(name));
    assert_eq!((recorder.bytes(), recorder.unsaved()), (0, Vec::new()));
    assert_eq!(recorder.history().databases().count(), 0);
}

#[test]
fn a_restart_is_a_gap_as_long_as_it_took() {
    let report = healthy("app");
    let restarted = |recorded, now| {
        let mut before = Recorder::default();
        before.record(&report, at(0));
        let saved = before.unsaved().remove(0);
        let mut after = Recorder::default();
        after.restore(&TargetName(saved.name.clone()), &saved.text(), recorded, at(now)).unwrap();
        after.record(&report, at(now));
        let points = after.history().series("app", None, &database::SIZE_BYTES);
        (points.iter().map(|point| (point.at, point.value.is_some())).collect::<Vec<_>>(), after.unsaved().len())
    };
    assert_eq!(restarted(Some(at(5_000)), 5_030), (vec![(at(0), true)], 0), "too short to show");
    assert_eq!(restarted(Some(at(5_000)), 9_000), (vec![(at(0), true), (at(5_000), false), (at(9_000), true)], 1));
    // Where it is not known until when it was recorded, nothing is claimed.
    assert_eq!(restarted(None, 9_000).0, [(at(0), false), (at(9_000), true)]);
    assert!(Recorder::default().restore(&"app".into(), "AAAA", None, at(0)).is_err());
}

/// A day of a database of which everything changes with each look.
#[test]
fn a_database_that_always_changes_is_bounded() {
    let mut recorder = Recorder::default();
    let mut report = healthy("app");
    for turn in 0..8 * 1_440 {
        busy(&mut report, turn);
        recorder.record(&report, at(turn as i64 * 60));
    }
    let (bytes, saved) = (recorder.bytes(), recorder.unsaved()[0].text().len());
    assert!(bytes < 68_000 && saved < 91_000, "{bytes} bytes, {saved} saved");
    assert_eq!(recorder.history().since("app"), Some(at(8 * 86_400 - 7 * 86_400 - 3_600)));
}

#[test]
fn ten_thousand_databases_that_always_change_stay_within_the_bound() {
    let mut recorder = Recorder::default();
    let mut reports: Vec<_> = (0..10_000).map(|number| healthy(&format!("tenant-{number:05}"))).collect();
    for turn in 0..26 {
        for report in &mut reports {
            busy(report, turn);
            recorder.record(report, at(turn as i64 * 60));
            assert!(recorder.bytes() <= HISTORY_BYTES_MAX);
        }
    }
    let history = recorder.history();
    assert_eq!(history.databases().count(), 10_000, "none was left out");
    assert!(recorder.bytes() > HISTORY_BYTES_MAX / 4, "{}", recorder.bytes());
}

#[test]
fn where_there_is_no_room_at_all_databases_are_left_out() {
    let mut recorder = Recorder::bounded(4_000);
    for turn in 0..100 {
        for number in 0..20 {
            let mut report = healthy(&format!("tenant-{number:05}"));
            busy(&mut report, turn);
            recorder.record(&report, at(turn as i64 * 60));
            assert!(recorder.bytes() <= 4_000);
        }
    }
    assert!((4..20).contains(&recorder.history().databases().count()));
    // With room again, it reaches back again.
    (1..20).for_each(|number| recorder.forget(&format!("tenant-{number:05}")));
    (0..12).for_each(|_| recorder.tidy(at(6_000)));
    let mut report = healthy("tenant-00000");
    for turn in 100..110 {
        busy(&mut report, turn);
        recorder.record(&report, at(turn as i64 * 60));
    }
    assert!(recorder.history().series("tenant-00000", Some("s3"), &replica::LAG).len() > 3);
}
