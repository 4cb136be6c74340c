//! Checks of the agent itself: whether it looks, at everything, as configured, and can tell.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::{Fold, Term};
use crate::domain::assessment::{
    Assessment, CollectorReport, DatabaseState, ReceiverReport, Reduced, SeriesReport, SourceReport,
};
use crate::domain::human::{agree, counted};
use crate::domain::limits::{ROUND_INTERVALS_MAX, ROUND_SLACK_SECONDS};
use crate::domain::number::agent::{
    DATABASES, DISCOVERED, LAST_ROUND, REDUCED, RELOADED, ROUND_INTERVAL, STATE_SAVED, STATES_SET_ASIDE,
};
use crate::domain::number::receiver::FAILING_SINCE;
use crate::domain::verdict::Severity;

/// A receiver may fail for so long: it is being restarted.
const RECEIVER_SECONDS: f64 = 300.0;

static OVER_LIMIT: Term = Term::Folded(&DATABASES, Fold::Where("state", "over_limit"));

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "CollectorStuck",
        title: "Every collector finishes its rounds",
        summary: "streamgauge: collector {collector} is stuck",
        description: "Collector {collector} has not finished a round for {value}: what it shows is at least that old.",
        action: "Look for a hanging filesystem, such as a dead network mount, and read the agent's log; then restart \
                 the agent.",
        unit: Unit::Seconds,
        rules: &[rule(
            Severity::Warning,
            Term::Age(&LAST_ROUND).above(Term::Sum(
                &Term::Times(&ROUND_INTERVAL, ROUND_INTERVALS_MAX),
                &Term::Constant(ROUND_SLACK_SECONDS),
            )),
            5,
        )],
        explain: |context, on| stuck(context, on.collector()?),
    },
    Check {
        name: "ConfigReloadFailed",
        title: "The latest configuration is in force",
        summary: "streamgauge: the configuration was rejected",
        description: "The agent was told to reload its configuration, found mistakes in it, and keeps using the \
                      previous one.",
        action: "Run `streamgauge config check`, fix every mistake that it reports, then reload.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, RELOADED.is(0.0), 5)],
        explain: |context, on| reloaded(context, on.agent()?),
    },
    Check {
        name: "DiscoveryFailed",
        title: "The databases of the source can be listed",
        summary: "streamgauge: the databases of {source} could not be listed",
        description: "The databases of {source} could not be listed, or it suddenly names far fewer or none: some may \
                      not be watched.",
        action: "Read the reason on the status page: a directory is gone, not mounted or unreadable, or a file was \
                 emptied. Databases known before stay watched; if you removed them on purpose, reload with SIGHUP or \
                 with a password.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, DISCOVERED.is(0.0), 5)],
        explain: |context, on| discovered(context, on.source()?),
    },
    Check {
        name: "SeriesLimitReached",
        title: "All configured databases are watched",
        summary: "streamgauge: more databases than one agent can watch",
        description: "Databases not watched because they are more than one agent can watch: {value}.",
        action: "Split the databases between two agents.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, OVER_LIMIT.exceeds(0.0), 5)],
        explain: |context, on| within_limit(context, on.agent()?),
    },
    Check {
        name: "MetricsReduced",
        title: "Prometheus is served the configured metrics",
        summary: "streamgauge: fewer metrics than configured",
        description: "There are more series than series-limit, so databases are served with a smaller profile or, if \
                      even that is too much, not at all. Rules in Prometheus cannot see a database that is not served.",
        action: "Raise series-limit, choose a smaller profile, exclude metrics, or split the databases between two \
                 agents.",
        unit: Unit::Count,
        rules: &[
            rule(Severity::Critical, Term::Of(&REDUCED).exceeds(1.0), 5),
            rule(Severity::Warning, REDUCED.any(), 5),
        ],
        explain: |_, on| Some(Explanation::Known(reduced(on.agent()?.agent.series?))),
    },
    Check {
        name: "NotificationsFailing",
        title: "Alerts reach the receiver",
        summary: "streamgauge: {receiver} cannot be notified",
        description: "Nothing has reached receiver {receiver} for {value}: alerts are waiting, or reach nobody.",
        action: "Read the reason on the status page, fix it, and try with `streamgauge notify test`.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Warning, Term::Age(&FAILING_SINCE).exceeds(RECEIVER_SECONDS), 0)],
        explain: |context, on| notified(context, on.receiver()?),
    },
    Check {
        name: "StateNotSaved",
        title: "The agent's state survives a restart",
        summary: "streamgauge cannot save its state",
        description: "The agent cannot save its state: a restart would lose histories, names, and who was notified of \
                      what.",
        action: "Read the reason on the status page: the disk is full, the directory is gone or belongs to another \
                 user, or a second agent uses it.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, STATE_SAVED.is(0.0), 5)],
        explain: |context, on| saved(context, on.agent()?),
    },
    Check {
        name: "StateSetAside",
        title: "The agent's saved state could be read",
        summary: "streamgauge: damaged state was set aside",
        description: "The agent found its saved state damaged, set it aside, and started afresh. Times since the agent \
                      started: {value}.",
        action: "Look for a failing disk. Delete state.sqlite.bad when nobody needs it any more; restarting the agent \
                 ends this alert.",
        unit: Unit::Count,
        rules: &[rule(Severity::Info, STATES_SET_ASIDE.any(), 0)],
        explain: |context, on| set_aside(context, on.agent()?),
    },
];

fn stuck(context: &Context, collector: &CollectorReport) -> Option<Explanation> {
    collector.interval_seconds?;
    let age = context.age(collector.last_round_at);
    Some(Explanation::Known(format!("{}: the last round finished {age} ago", collector.collector)))
}

fn reloaded(_: &Context, assessment: &Assessment) -> Option<Explanation> {
    let config = &assessment.agent.config;
    Some(Explanation::Known(match (&config.error, config.last_reload_successful) {
        (_, true) => "as read".into(),
        (Some(error), false) => error.clone(),
        (None, false) => "rejected".into(),
    }))
}

fn discovered(_: &Context, source: &SourceReport) -> Option<Explanation> {
    let SourceReport { source: name, databases, error, .. } = source;
    Some(Explanation::Known(match error {
        None => format!("{name}: {}", counted(*databases, "database")),
        Some(error) => format!("{name}: {error}"),
    }))
}

fn within_limit(_: &Context, assessment: &Assessment) -> Option<Explanation> {
    Some(Explanation::Known(match assessment.count(DatabaseState::OverLimit) {
        0 => counted(assessment.databases.len(), "database"),
        beyond => format!("{} {} not watched", counted(beyond, "database"), agree(&beyond, "is", "are")),
    }))
}

fn reduced(series: SeriesReport) -> String {
    let SeriesReport { limit, configured, served, reduced } = series;
    let of = format!("{} of at most {limit}", counted(served, "series"));
    match reduced {
        Reduced::No => of,
        Reduced::To(profile) => {
            format!("{of}: profiles are reduced to {}; {configured} with those configured", profile.as_str())
        }
        Reduced::Shed => format!("{of}: none of any database; {configured} with the profiles configured"),
    }
}

fn saved(context: &Context, assessment: &Assessment) -> Option<Explanation> {
    let state = assessment.agent.state.as_ref()?;
    let age = state.last_saved_at.map(|at| context.age(at));
    Some(match (state.saved, &state.reason, age) {
        (Some(false), reason, age) => {
            let why = reason.as_ref().map_or_else(|| "no reason given".into(), ToString::to_string);
            // When the agent before this one saved what is there is not known.
            let last = age.map_or_else(|| "not saved since the start".into(), |age| format!("last saved {age} ago"));
            Explanation::Known(format!("{why}; {last}"))
        }
        (Some(true), _, Some(age)) => Explanation::Known(format!("saved {age} ago")),
        _ => Explanation::Unknown("nothing has been saved yet".into()),
    })
}

fn set_aside(_: &Context, assessment: &Assessment) -> Option<Explanation> {
    Some(Explanation::Known(match assessment.agent.state.as_ref()?.set_aside {
        0 => "it was not damaged".into(),
        1 => "damaged state was set aside".into(),
        times => format!("damaged state was set aside {times} times"),
    }))
}

fn notified(context: &Context, receiver: &ReceiverReport) -> Option<Explanation> {
    let name = &receiver.receiver;
    Some(match (receiver.failing_since, receiver.last_success_at) {
        (Some(since), _) => {
            let age = context.age(since);
            let why = receiver.reason.as_ref().map_or_else(|| "no reason given".into(), ToString::to_string);
            Explanation::Known(format!("{name}: failing for {age}: {why}"))
        }
        (None, Some(at)) => {
            let age = context.age(at);
            Explanation::Known(format!("{name}: last reached {age} ago"))
        }
        (None, None) => Explanation::Unknown(format!("{name}: nothing has been sent to it yet")),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Watching;
    use super::super::judge::on_agent;
    use super::*;
    use crate::domain::assessment::{AgentReport, ConfigReport, StateReport};
    use crate::domain::reason::{Reason, ReasonKind};
    use crate::domain::verdict::Status;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn assessment() -> Assessment {
        let collector = |collector, interval_seconds| CollectorReport {
            collector,
            success: true,
            last_round_at: at(9_999),
            interval_seconds,
            ..CollectorReport::default()
        };
        let source =
            SourceReport { source: "litestream.yml".into(), success: true, databases: 3, ..Default::default() };
        let agent = AgentReport {
            config: ConfigReport::read_at(at(0)),
            sources: vec![source],
            collectors: vec![collector("local", Some(1.0)), collector("replica", Some(300.0))],
            ..AgentReport::default()
        };
        Assessment { complete: true, agent, ..Assessment::default() }
    }

    /// Checks the verdicts that did not pass.
    fn check(assessment: &Assessment, expected: &[&str]) {
        let verdicts = on_agent(assessment, at(10_000), Watching::Continuously);
        let bad = verdicts.iter().filter(|verdict| verdict.status != Status::Pass);
        let bad: Vec<_> =
            bad.map(|verdict| format!("{} {}: {}", verdict.check, verdict.status.as_str(), verdict.detail)).collect();
        assert_eq!(bad, expected);
    }

    #[test]
    fn an_agent_that_works_passes() {
        check(&assessment(), &[]);
    }

    #[test]
    fn a_collector_is_stuck_when_its_rounds_do_not_end() {
        let with = |collector: usize, last: i64| {
            let mut assessment = assessment();
            assessment.agent.collectors[collector].last_round_at = at(10_000 - last);
            assessment
        };
        check(&with(0, 123), &[]);
        check(&with(0, 124), &["CollectorStuck fail: local: the last round finished 2 min 4 s ago"]);
        // It has its own pace.
        check(&with(1, 1000), &[]);
        check(&with(1, 1021), &["CollectorStuck fail: replica: the last round finished 17 min 1 s ago"]);
        let mut nothing_to_look_at = with(1, 9_000);
        nothing_to_look_at.agent.collectors[1].interval_seconds = None;
        check(&nothing_to_look_at, &[]);
    }

    #[test]
    fn what_could_not_be_read_is_told() {
        let mut broken = assessment();
        broken.agent.config.last_reload_successful = false;
        broken.agent.config.error = Some("streamgauge.toml:3: unknown key".into());
        broken.agent.sources[0].success = false;
        broken.agent.sources[0].error = Some("read /srv: permission denied".into());
        broken.over_limit = 7;
        let expected = [
            "ConfigReloadFailed fail: streamgauge.toml:3: unknown key",
            "DiscoveryFailed fail: litestream.yml: read /srv: permission denied",
            "SeriesLimitReached fail: 7 databases are not watched",
        ];
        check(&broken, &expected);
    }

    #[test]
    fn a_state_that_is_not_saved_is_told() {
        let with = |state: StateReport| {
            let mut assessment = assessment();
            assessment.agent.state = Some(state);
            assessment
        };
        let saved = StateReport { saved: Some(true), last_saved_at: Some(at(9_990)), ..StateReport::default() };
        check(&with(saved.clone()), &[]);
        check(&with(StateReport::default()), &["StateNotSaved unknown: nothing has been saved yet"]);
        let reason = Some(Reason::new(ReasonKind::Failed, "write state.sqlite: no space left"));
        let failing = StateReport { saved: Some(false), reason, ..saved.clone() };
        check(&with(failing.clone()), &["StateNotSaved fail: write state.sqlite: no space left; last saved 10 s ago"]);
        let restarted = StateReport { last_saved_at: None, ..failing };
        check(&with(restarted), &["StateNotSaved fail: write state.sqlite: no space left; not saved since the start"]);
        check(&with(StateReport { set_aside: 1, ..saved }), &["StateSetAside fail: damaged state was set aside"]);
    }

    #[test]
    fn a_receiver_that_fails_for_five_minutes_is_told() {
        let with = |failing: i64| {
            let mut assessment = assessment();
            assessment.agent.receivers = vec![ReceiverReport {
                receiver: "pager".into(),
                failing_since: Some(at(10_000 - failing)),
                reason: Some(Reason::new(ReasonKind::Timeout, "post alerts: no answer")),
                ..ReceiverReport::default()
            }];
            assessment
        };
        check(&with(300), &[]);
        check(&with(301), &["NotificationsFailing fail: pager: failing for 5 min 1 s: post alerts: no answer"]);
        let mut unused = with(0);
        unused.agent.receivers[0].failing_since = None;
        check(&unused, &["NotificationsFailing unknown: pager: nothing has been sent to it yet"]);
    }
}
