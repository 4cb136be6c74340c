//! What is expected of each scenario against what happened, and the table of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::judge::{Labels, Recording, STEP};
use crate::scenarios::Scenario;

const HEAD: &str = "\
# What is detected, and how soon

Each fault is a script that runs against the real agent, with a simulated database, Litestream 0.5 and bucket, over hours of
simulated time. tests/detection.rs runs them, and writes the table.

- **Times** run from the fault to the first evaluation at which the alert was pending, and to the one at which it fired,
  rounded up to minutes.
- **Silent, rightly**: every alert that a row does not name stayed silent from beginning to end. A *false alarm* is an alert
  that the fault should not raise, or that fires before the fault.
- **Intervals.** Here, the agent looks at the database every 15 seconds (every second if it is killed), and otherwise uses
  its defaults. The database is written every 15 seconds unless the fault says otherwise.
- **Three judges.** Every 15 seconds, the built-in engine, the rules of `streamgauge rules --profile full` in promtool 2.42,
  and alerts/streamgauge.rules.yml in 3.x judge the same report. Unless a remark mentions a difference, they agree on every
  alert. The third is not compared at the instants at which something changes, because it may see the change 15 seconds
  later. AgentDown, AgentAbsent, Watchdog and RpoBudgetBurn, which only Prometheus can see, are not compared.

If several idle databases on one host have their replicas in one bucket, the agent looks at one of them every 5 minutes, in
turn. A fault of the bucket or of the login is therefore detected as soon as with a single idle database, as below, and then
all of them are looked at. A fault of one replica is seen when its turn comes: with 20 replicas after at most 105 minutes
(tests/detection/fleet.rs), with 72 or more after at most 6 hours, when everything is listed again
(`idle-reconcile-interval`; a day for a v0.3 replica with more than 24 000 objects). A round of spot checks, by default one
an hour, begins with a look and notices the fault within about an hour.

| fault | detected by | pending | firing | silent, rightly | false alarms | remark |
|---|---|---|---|---|---|---|
";

fn told(labels: &Labels) -> (&str, &str) {
    (&labels["alertname"], &labels["severity"])
}

/// When each alert that fired was first pending and first fired, in seconds.
fn fired(recording: &Recording) -> BTreeMap<(&str, &str), (i64, i64)> {
    let mut pending = BTreeMap::new();
    let mut fired = BTreeMap::new();
    for (step, alerts) in recording.alerts.iter().enumerate() {
        let at = step as i64 * STEP;
        pending.retain(|alert, _| alerts.keys().any(|labels| told(labels) == *alert));
        for (labels, firing) in alerts {
            let since = *pending.entry(told(labels)).or_insert(at);
            if *firing {
                fired.entry(told(labels)).or_insert((since, at));
            }
        }
    }
    fired
}

/// What is not as it is expected.
pub(crate) fn problems(scenario: &Scenario, recording: &Recording) -> Vec<String> {
    let fired = fired(recording);
    let expected: BTreeSet<_> = scenario.detected.iter().copied().collect();
    let early = |(alert, (_, at)): (&(&str, &str), &(i64, i64))| {
        scenario
            .fault
            .is_some_and(|fault| *at < fault)
            .then(|| format!("{}: {alert:?} before the fault", scenario.name))
    };
    let missing = expected.iter().filter(|alert| !fired.contains_key(*alert));
    let missing = missing.map(|alert| format!("{}: {alert:?} does not fire", scenario.name));
    let false_alarms = fired.keys().filter(|alert| !expected.contains(*alert));
    let false_alarms = false_alarms.map(|alert| format!("{}: {alert:?} fires at {:?}", scenario.name, fired[alert]));
    let silent = scenario.silent.iter().filter(|check| fired.keys().any(|alert| alert.0 == **check));
    let silent = silent.map(|check| format!("{}: {check} is not silent", scenario.name));
    fired.iter().filter_map(early).chain(missing).chain(false_alarms).chain(silent).collect()
}

pub(crate) fn render(scenarios: &[&Scenario], recordings: &[Recording]) -> String {
    let mut table = HEAD.to_owned();
    for (scenario, recording) in scenarios.iter().zip(recordings) {
        let fired = fired(recording);
        let fault = scenario.fault.unwrap_or(0);
        let column = |text: &dyn Fn(&(&str, &str)) -> String| {
            let texts: Vec<_> = scenario.detected.iter().map(text).collect();
            if texts.is_empty() { "–".to_owned() } else { texts.join("<br>") }
        };
        let minutes = |second: i64| format!("{} min", (second - fault).max(0).unsigned_abs().div_ceil(60));
        let by = column(&|(check, severity)| format!("{check} ({severity})"));
        let (pending, firing) = (column(&|alert| minutes(fired[alert].0)), column(&|alert| minutes(fired[alert].1)));
        let silent = if scenario.silent.is_empty() { "–".to_owned() } else { scenario.silent.join(", ") };
        let expected: BTreeSet<_> = scenario.detected.iter().copied().collect();
        let false_alarms = fired.keys().filter(|alert| !expected.contains(*alert)).count();
        let Scenario { name, remark, .. } = scenario;
        writeln!(table, "| {name} | {by} | {pending} | {firing} | {silent} | {false_alarms} | {remark} |").unwrap();
    }
    table
}
