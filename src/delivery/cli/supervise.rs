//! Tells the service manager how the agent is: that it is at work, and what the page says in one sentence.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::delivery::render::page;
use crate::delivery::render::published::{Published, ReportCell};
use crate::domain::assessment::CollectorReport;
use crate::infrastructure::{clock, supervisor};

/// How often the sentence is made, if the report has changed.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tells it for as long as it is polled. The watchdog is fed by what the agent does and not by a clock: where reports no
/// longer come, or a collector no longer finishes its rounds, it starves.
pub async fn supervise(cell: ReportCell) {
    if !supervisor::is_there() {
        return;
    }
    let patience = supervisor::patience();
    let interval = patience.map_or(INTERVAL, |patience| INTERVAL.min(patience / 3));
    let (mut tag, mut told, mut rounds) = (String::new(), String::new(), Rounds::default());
    loop {
        let published = cell.current();
        let at_work = published.as_ref().is_none_or(|published| rounds.go_on(published));
        if at_work && !cell.is_stale() && patience.is_some() {
            supervisor::alive();
        }
        if let Some(published) = published.filter(|published| published.tag() != tag) {
            published.tag().clone_into(&mut tag);
            let sentence = page::sentence(published.report());
            if sentence != told {
                supervisor::status(&sentence);
                told = sentence;
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// When each collector was last seen to have ended another round, by the monotonic clock: the wall clock is set, and goes
/// on while the machine is suspended.
#[derive(Default)]
struct Rounds(BTreeMap<&'static str, (Timestamp, Instant)>);

impl Rounds {
    /// No collector is stuck.
    fn go_on(&mut self, published: &Published) -> bool {
        let (now, collectors) = (clock::timer(), &published.report().assessment.agent.collectors);
        // All of them: each is noted.
        collectors.iter().filter(|collector| self.is_stuck(collector, now)).count() == 0
    }

    fn is_stuck(&mut self, collector: &CollectorReport, now: Instant) -> bool {
        let (round, seen) = self.0.entry(collector.collector).or_insert((collector.last_round_at, now));
        // Without an interval there is nothing to look at.
        if *round != collector.last_round_at || collector.interval_seconds.is_none() {
            (*round, *seen) = (collector.last_round_at, now);
        }
        collector.is_stuck(now.duration_since(*seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::sample;

    #[tokio::test(start_paused = true)]
    async fn an_agent_whose_collector_is_stuck_is_not_at_work_whatever_the_wall_clock_says() {
        for (interval, seconds, expected) in [
            (Some(1.0), 100, true),
            (Some(1.0), 130, false),
            (Some(300.0), 900, true),
            (Some(300.0), 1_100, false),
            (None, 9_999, true),
        ] {
            let mut rounds = Rounds::default();
            let mut at_work = |last_round: i64| {
                let mut report = sample::full();
                let collector = &mut report.assessment.agent.collectors[0];
                collector.interval_seconds = interval;
                collector.last_round_at = Timestamp::from_second(last_round).expect("a time");
                rounds.go_on(&Published::new(report, 0))
            };
            // Long ago, or to come, by a clock that was set.
            for last_round in [0, 9_999_999_999, 1] {
                assert!(at_work(last_round), "{interval:?}: another round");
                tokio::time::advance(Duration::from_secs(90)).await;
            }
            assert!(at_work(2));
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert_eq!(at_work(2), expected, "{interval:?} {seconds}");
            assert!(at_work(3), "{interval:?}: it goes on");
        }
    }
}
