//! When a replica is drilled next. Pure: `now` is an argument.

use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::{SignedDuration, Timestamp};

use super::{DrillHistory, DrillResult, DrillSchedule};
use crate::domain::moment::{later, signed};
use crate::domain::window::DailyWindow;

/// By size: the largest download for which a drill a day is cheap.
pub const DAILY_DOWNLOAD_MAX: u64 = 1 << 30;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A drill that did not pass is repeated after this; an inconclusive one after twice as long each time.
const FIRST_RETRY: SignedDuration = SignedDuration::from_hours(1);

/// A drill that failed is repeated so long after what was wrong with the replica is seen to be good again, and not sooner
/// than [`HEALED_REST`] after it ended.
const HEALED_RETRY: SignedDuration = SignedDuration::from_mins(1);
const HEALED_REST: SignedDuration = SignedDuration::from_mins(5);

/// Missed drills are made up for within half of this, and new replicas are first drilled within all of it.
const SPREAD: SignedDuration = SignedDuration::from_hours(1);

/// A time of a cron expression that passed less than this long ago is still meant.
const CRON_GRACE: SignedDuration = SignedDuration::from_hours(1);

/// The most by which a time of a cron expression is moved when many replicas have the same.
const CRON_JITTER: SignedDuration = SignedDuration::from_mins(5);

/// So many replicas are many.
const MANY: usize = 10;

/// Times of a cron expression of which the longest gap is its interval.
const CRON_TIMES: usize = 8;

/// Limits of the scheduled drills of all databases together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillLimits {
    /// `None`: at any time.
    pub window: Option<DailyWindow>,
    /// Bytes that drills from buckets may download in 24 hours; `None`: as many as they need.
    pub daily_download: Option<u64>,
}

/// The facts that decide when a replica is drilled next.
#[derive(Clone, Copy, Debug)]
pub struct DrillTiming<'a> {
    pub schedule: &'a DrillSchedule,
    pub history: &'a DrillHistory,
    /// About how much a drill downloads.
    pub download_bytes: u64,
    /// Whether the history of drills survives a restart of the agent.
    pub remembered: bool,
    /// A number from 0 up to 1 that is this replica's own: see [`share`].
    pub share: f64,
    /// Replicas that the agent drills.
    pub replicas: usize,
    pub window: Option<&'a DailyWindow>,
    /// When something that was wrong with the replica was seen to be good again, since the last drill.
    pub healed_at: Option<Timestamp>,
}

impl DrillTiming<'_> {
    /// The time between two drills: the longest of the next ones where a cron expression says when. `None`: never.
    pub fn interval(&self, now: Timestamp) -> Option<SignedDuration> {
        match self.schedule {
            DrillSchedule::Off => None,
            DrillSchedule::BySize if self.download_bytes <= DAILY_DOWNLOAD_MAX => Some(DAY),
            DrillSchedule::BySize => Some(MONTH),
            DrillSchedule::Every(interval) => Some(signed(*interval)),
            DrillSchedule::Cron(text) => {
                let cron = parse_crontab(text).ok()?;
                let mut times = vec![next_time(&cron, now)?];
                while let Some(next) = times.last().filter(|_| times.len() < CRON_TIMES) {
                    times.push(next_time(&cron, *next)?);
                }
                times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max()
            }
        }
    }

    /// When the next drill is due. `None`: never.
    ///
    /// A clock that was set back delays a drill by at most an interval, and drills that were missed are not all due at
    /// once.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let interval = self.interval(now)?;
        let due = self.regular(interval, now)?;
        let due = if due > now { due } else { later(now, self.soon(interval)) };
        Some(self.window.map_or(due, |window| window.next_open(due)))
    }

    /// When it is due by what is known of earlier ones, which may have passed.
    fn regular(&self, interval: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let begun = self.history.last.as_ref().map(|last| last.started_at.min(now));
        let seen = self.history.first_seen_at.unwrap_or(now).min(now);
        let due = match (self.schedule, begun) {
            (DrillSchedule::Cron(text), begun) => self.at_time(text, begun.unwrap_or(seen), interval, now)?,
            (_, Some(begun)) => later(begun, interval),
            (_, None) => later(seen, self.first(interval)),
        };
        Some(self.retry(interval, now).map_or(due, |retry| retry.min(due)))
    }

    /// The time of a cron expression after `since`: one that passed lately, otherwise one that is to come.
    fn at_time(&self, text: &str, since: Timestamp, interval: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let cron = parse_crontab(text).ok()?;
        let since = since.max(later(now, -CRON_GRACE));
        let jitter =
            if self.replicas > MANY { part(CRON_JITTER.min(interval / 4), self.share) } else { SignedDuration::ZERO };
        Some(later(next_time(&cron, since)?, jitter))
    }

    /// From when it is first seen to its first drill. An agent that forgets spreads it over the whole interval, so that
    /// one that crashes again and again does not drill each time.
    fn first(&self, interval: SignedDuration) -> SignedDuration {
        if !self.remembered {
            return part(interval, self.share);
        }
        let most = interval.min(SPREAD);
        most / 6 + part(most / 6 * 5, self.share)
    }

    /// When the last drill is repeated because it did not pass.
    fn retry(&self, interval: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let last = self.history.last.as_ref()?;
        let failed = self.history.last_conclusive == Some(DrillResult::Failed);
        if let Some(healed) = self.healed_at.filter(|_| failed) {
            return Some(later(healed.min(now), HEALED_RETRY).max(later(last.finished_at.min(now), HEALED_REST)));
        }
        let wait = match last.result {
            DrillResult::Passed => return None,
            // A second failure confirms the first; more of them tell nothing new.
            DrillResult::Failed if self.history.failed_in_a_row > 1 => return None,
            DrillResult::Failed => FIRST_RETRY,
            DrillResult::Inconclusive => {
                let doubled = 1_i32.checked_shl(self.history.inconclusive_in_a_row.saturating_sub(1).min(20));
                FIRST_RETRY * doubled.unwrap_or(1)
            }
        };
        Some(later(last.finished_at.min(now), wait.min(interval)))
    }

    /// From now to a drill that was missed.
    fn soon(&self, interval: SignedDuration) -> SignedDuration {
        let most = interval.min(SPREAD);
        most / 60 + part(most / 60 * 29, self.share)
    }
}

fn next_time(cron: &Crontab, after: Timestamp) -> Option<Timestamp> {
    cron.find_next(MakeTimestamp(after)).ok().map(|time| time.timestamp())
}

fn part(duration: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(duration.as_secs_f64() * share).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::Time;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::drill::history::tests::record;
    use crate::domain::spread::share;

    /// 2026-03-02 00:00:00 UTC, a Monday.
    const MIDNIGHT: i64 = 1_772_409_600;
    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(MIDNIGHT + second).unwrap()
    }

    fn every(hours: u64) -> DrillSchedule {
        DrillSchedule::Every(Duration::from_secs(hours * 3600))
    }

    fn seen(second: i64) -> DrillHistory {
        DrillHistory { first_seen_at: Some(at(second)), ..DrillHistory::default() }
    }

    /// Drills that ended as told, the last one at a second.
    fn drilled(second: i64, results: &[DrillResult]) -> DrillHistory {
        let mut history = seen(second - 1000 * HOUR);
        for result in results {
            history.conclude(record(MIDNIGHT + second, *result), at(second));
        }
        history
    }

    fn timing<'a>(schedule: &'a DrillSchedule, history: &'a DrillHistory) -> DrillTiming<'a> {
        DrillTiming {
            schedule,
            history,
            download_bytes: 0,
            remembered: true,
            share: 0.5,
            replicas: 1,
            window: None,
            healed_at: None,
        }
    }

    /// Minutes from `now` to the next drill.
    fn minutes(timing: DrillTiming<'_>, now: i64) -> f64 {
        timing.next_due(at(now)).unwrap().duration_since(at(now)).as_secs_f64() / 60.0
    }

    #[test]
    fn a_failure_is_looked_into_again_soon_after_what_was_wrong_is_good_again() {
        let schedule = every(24);
        let due = |results: &[DrillResult], healed: Option<i64>, now: i64| {
            let history = drilled(0, results);
            let timing = DrillTiming { healed_at: healed.map(at), ..timing(&schedule, &history) };
            timing.next_due(at(now))
        };
        let failed = [DrillResult::Failed; 2];
        assert!(due(&failed, None, 600) > Some(at(20 * HOUR)), "a second failure is not repeated");
        assert_eq!(due(&failed, Some(600), 600), Some(at(660)));
        assert_eq!(due(&failed, Some(10), 20), Some(at(310)), "not again and again: it ended after ten seconds");
        let unsure = [DrillResult::Failed, DrillResult::Inconclusive];
        assert_eq!(due(&unsure, Some(600), 600), Some(at(660)));
        assert_eq!(due(&[DrillResult::Passed], Some(600), 600), due(&[DrillResult::Passed], None, 600));
    }

    #[test]
    fn small_is_daily_and_large_is_monthly() {
        let history = seen(0);
        let sized = |download_bytes| DrillTiming { download_bytes, ..timing(&DrillSchedule::BySize, &history) };
        assert_eq!(sized(DAILY_DOWNLOAD_MAX).interval(at(0)), Some(DAY));
        assert_eq!(sized(DAILY_DOWNLOAD_MAX + 1).interval(at(0)), Some(MONTH));
        let off = timing(&DrillSchedule::Off, &history);
        assert_eq!((off.interval(at(0)), off.next_due(at(0))), (None, None));
    }

    #[test]
    fn the_first_drill_comes_within_the_hour_or_without_a_memory_within_the_interval() {
        let (history, daily) = (seen(0), every(24));
        let shares = |remembered: bool| {
            [0.0, 0.5, 0.999_999]
                .map(|share| minutes(DrillTiming { share, remembered, ..timing(&daily, &history) }, 1).round())
        };
        assert_eq!(shares(true), [10.0, 35.0, 60.0]);
        assert_eq!(shares(false), [1.0, 720.0, 1440.0]);
    }

    #[test]
    fn after_one_that_passed_comes_the_next_an_interval_later() {
        let (history, daily) = (drilled(0, &[DrillResult::Passed]), every(24));
        assert_eq!(minutes(timing(&daily, &history), 10), 24.0 * 60.0 - 10.0 / 60.0);
    }

    #[test]
    fn what_did_not_pass_is_repeated_sooner() {
        use DrillResult::*;
        let daily = every(24);
        let hours = |results: &[DrillResult]| (minutes(timing(&daily, &drilled(0, results)), 10) / 60.0).round();
        assert_eq!(hours(&[Failed]), 1.0);
        assert_eq!(hours(&[Failed, Failed]), 24.0);
        assert_eq!(hours(&[Failed, Passed, Failed]), 1.0);
        let inconclusive = [Inconclusive; 7];
        let waits: Vec<f64> = (1..=7).map(|count| hours(&inconclusive[..count])).collect();
        assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 24.0]);
        let (often, quick) = (DrillSchedule::Every(Duration::from_secs(60)), drilled(0, &[Failed]));
        assert!(minutes(timing(&often, &quick), 10) <= 1.0);
    }

    #[test]
    fn what_was_missed_is_made_up_for_soon_and_not_at_once() {
        let (history, daily) = (drilled(0, &[DrillResult::Passed]), every(24));
        let made_up = |share| minutes(DrillTiming { share, ..timing(&daily, &history) }, 100 * HOUR);
        assert_eq!([0.0, 0.5].map(made_up), [1.0, 15.5]);
        assert!(made_up(0.999) < 30.0);
        assert!(minutes(timing(&daily, &seen(0)), 100 * HOUR) < 30.0);
    }

    #[test]
    fn cron_times_are_kept_to_and_those_missed_are_not_made_up_for() {
        use DrillResult::*;
        let cron = DrillSchedule::Cron("0 3 * * * UTC".into());
        let drilled = |second, results: &[DrillResult]| drilled(second, results);
        let hours = |history: &DrillHistory, now| minutes(timing(&cron, history), now) / 60.0;
        assert_eq!(hours(&seen(0), 0), 3.0);
        assert_eq!(hours(&drilled(3 * HOUR, &[Passed]), 4 * HOUR), 23.0);
        // Down from before three until a quarter past: three o'clock is still meant.
        assert!(hours(&drilled(-21 * HOUR, &[Passed]), 3 * HOUR + 900) < 0.5);
        assert_eq!(hours(&drilled(-21 * HOUR, &[Passed]), 5 * HOUR), 22.0);
        assert_eq!(hours(&drilled(3 * HOUR, &[Failed]), 3 * HOUR + 10), 1.0);
        assert_eq!(timing(&cron, &seen(0)).interval(at(0)), Some(DAY));
        let weekdays = DrillSchedule::Cron("0 3 * * 1-5 UTC".into());
        assert_eq!(timing(&weekdays, &seen(0)).interval(at(0)), Some(DAY * 3));
    }

    #[test]
    fn many_replicas_with_one_cron_time_are_five_minutes_apart() {
        let (cron, history) = (DrillSchedule::Cron("0 3 * * * UTC".into()), seen(0));
        let due = |replicas, share| minutes(DrillTiming { replicas, share, ..timing(&cron, &history) }, 0) - 180.0;
        assert_eq!((due(10, 0.8), due(11, 0.8)), (0.0, 4.0));
        assert!(due(100_000, 0.999) < 5.0);
    }

    #[test]
    fn drills_begin_inside_the_window_only() {
        let window = |from: i8, to: i8| DailyWindow {
            from: Time::constant(from, 0, 0, 0),
            to: Time::constant(to, 0, 0, 0),
            zone: TimeZone::UTC,
        };
        for (window, now, opens) in [
            (window(1, 5), 0, HOUR),
            (window(1, 5), HOUR, HOUR),
            (window(1, 5), 5 * HOUR, 25 * HOUR),
            (window(22, 4), 3 * HOUR, 3 * HOUR),
            (window(22, 4), 4 * HOUR, 22 * HOUR),
            (window(22, 0), 23 * HOUR, 23 * HOUR),
            (window(22, 0), 24 * HOUR, 46 * HOUR),
        ] {
            assert_eq!(window.next_open(at(now)), at(opens), "{window:?} at {now}");
            assert_eq!(window.is_open(at(now)), now == opens);
        }
        let (opens, daily, history) = (window(1, 5), every(24), seen(6 * HOUR));
        let due = DrillTiming { window: Some(&opens), ..timing(&daily, &history) }.next_due(at(6 * HOUR));
        assert_eq!(due, Some(at(25 * HOUR)));
    }

    #[test]
    fn ten_thousand_databases_are_spread_evenly() {
        let mut tenths = [0; 10];
        for number in 0..10_000 {
            let share = share(&format!("tenant-{number:05}"), "s3");
            assert!((0.0..1.0).contains(&share));
            tenths[(share * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    }

    fn schedules() -> impl Strategy<Value = DrillSchedule> {
        prop_oneof![
            (1..1000_u64).prop_map(every),
            Just(DrillSchedule::BySize),
            Just(DrillSchedule::Cron("30 4 1,15 * 5 UTC".into())),
            Just(DrillSchedule::Cron("*/7 * * * * America/New_York".into())),
        ]
    }

    proptest! {
        /// Wherever the clock is set, the next drill is neither now nor later than an interval and a day from now.
        #[test]
        fn a_clock_that_steps_causes_no_storm_and_no_silence(
            schedule in schedules(),
            results in prop::collection::vec(prop::sample::select(DrillResult::ALL.to_vec()), 0..6),
            last in -200_000_000..200_000_000_i64,
            now in -200_000_000..200_000_000_i64,
            share in 0.0..1.0_f64,
            remembered: bool,
            windowed: bool,
            replicas in 1..20_usize,
        ) {
            let history = drilled(last, &results);
            let window = DailyWindow {
                from: Time::constant(23, 30, 0, 0),
                to: Time::constant(1, 0, 0, 0),
                zone: TimeZone::UTC,
            };
            let window = windowed.then_some(&window);
            let timing = DrillTiming { share, remembered, replicas, window, ..timing(&schedule, &history) };
            let interval = timing.interval(at(now)).unwrap();
            let due = timing.next_due(at(now)).unwrap();
            prop_assert!(due > at(now));
            prop_assert!(due.duration_since(at(now)) <= interval.max(MONTH * 12) + DAY * 2);
            if !matches!(schedule, DrillSchedule::Cron(_)) {
                prop_assert!(due.duration_since(at(now)) <= interval + DAY);
            }
            prop_assert!(window.is_none_or(|window| window.is_open(due)));
        }
    }
}
