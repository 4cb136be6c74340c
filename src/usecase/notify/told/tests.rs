//! Boards in, messages out.

use proptest::prelude::*;

use super::*;
use crate::domain::alerting::HttpOptions;
use crate::domain::secret::Secret;

fn at(seconds: i64) -> Moment {
    let wall = Timestamp::from_second(1_767_225_600 + seconds).unwrap();
    Moment::new(wall, SignedDuration::from_secs(seconds))
}

fn target(style: Style) -> ReceiverTarget {
    let (url, http) = (Secret::new("http://127.0.0.1/"), HttpOptions::default());
    let kind = match style {
        Style::Group => ReceiverKind::Webhook { url, http },
        Style::Each => ReceiverKind::PagerDuty { routing_key: Secret::new("k"), url, http },
        Style::Mirror => ReceiverKind::Alertmanager { urls: vec![url], http },
    };
    assert_eq!(Style::of(&kind), style);
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    ReceiverTarget {
        name: "r".into(),
        severity: Severity::Warning,
        resolved: true,
        group_wait: Duration::from_secs(10),
        group_interval: minutes(1),
        repeat_interval: if style == Style::Mirror { minutes(1) } else { minutes(240) },
        kind,
    }
}

fn alert(name: &str, state: AlertState) -> Alert {
    Alert {
        labels: [("alertname", name), ("severity", "critical")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        annotations: BTreeMap::from([("summary".to_owned(), format!("{name} is wrong"))]),
        severity: Severity::Critical,
        state,
        active_at: at(0).wall(),
        fired_at: Some(at(0).wall()),
        ended_at: (state == AlertState::Resolved).then(|| at(0).wall()),
        resolved_at: (state == AlertState::Resolved).then(|| at(0).wall()),
        value: 1.0,
        suppressed: None,
    }
}

/// `a b` fire, `!c` is resolved, `?d` is pending, `(e)` fires and is suppressed, `~f` fires still, but no longer holds.
fn board(alerts: &str, complete: bool) -> AlertBoard {
    let one = |word: &str| {
        let name = word.trim_matches(['!', '?', '(', ')', '~']);
        let state = match word.as_bytes()[0] {
            b'!' => AlertState::Resolved,
            b'?' => AlertState::Pending,
            _ => AlertState::Firing,
        };
        let suppressed = word.starts_with('(').then(|| "silenced".to_owned());
        let alert = alert(name, state);
        let ended_at = alert.ended_at.or_else(|| word.starts_with('~').then(|| at(0).wall()));
        Arc::new(Alert { suppressed, ended_at, ..alert })
    };
    AlertBoard { at: at(0).wall(), complete, databases: 1, alerts: alerts.split_whitespace().map(one).collect() }
}

/// A receiver that can be told, and the seconds that it is.
struct Receiver {
    told: Told,
    target: ReceiverTarget,
    style: Style,
}

impl Receiver {
    fn new(style: Style) -> Self {
        Self { told: Told::default(), target: target(style), style }
    }

    /// The message at this second about this board: `a b !c`, in front `again` where nothing is new; else how long to
    /// wait.
    fn tell(&mut self, second: i64, alerts: &str) -> String {
        self.tell_board(second, &board(alerts, true))
    }

    fn tell_board(&mut self, second: i64, board: &AlertBoard) -> String {
        match self.told.next(board, &self.target, self.style, at(second)) {
            Next::Wait(wait) => format!("wait {}", wait.as_secs()),
            Next::Send(due) => {
                self.told.record(&due.firing, &due.resolved, self.style, at(second));
                self.told.succeeded();
                words(&due)
            }
        }
    }
}

fn words(due: &Due) -> String {
    let again = due.repeated.then(|| "again".to_owned());
    let firing = due.firing.iter().map(|alert| alert.name().to_owned());
    let resolved = due.resolved.iter().map(|alert| {
        assert_eq!((alert.state, alert.resolved_at.is_some()), (AlertState::Resolved, true));
        format!("!{}", alert.name())
    });
    again.into_iter().chain(firing).chain(resolved).collect::<Vec<_>>().join(" ")
}

#[test]
fn people_are_not_told_first_of_what_is_over_by_then() {
    let mut receiver = Receiver::new(Style::Group);
    assert!(receiver.tell(0, "a").starts_with("wait"));
    assert_eq!(receiver.tell(100, "~a b"), "b");
    assert!(receiver.tell(400, "!a ~b").starts_with("wait"), "of a nothing was said");
    assert_eq!((receiver.tell(800, "!a !b").as_str(), receiver.tell(810, "!a !b").as_str()), ("wait 10", "!b"));
    let mut mirror = Receiver::new(Style::Mirror);
    assert_eq!(mirror.tell(0, "~a"), "a");
}

#[test]
fn a_group_is_waited_for_told_once_repeated_and_resolved() {
    let mut receiver = Receiver::new(Style::Group);
    assert_eq!(receiver.tell(0, ""), "wait 3600");
    assert_eq!(receiver.tell(100, "a"), "wait 10");
    assert_eq!(receiver.tell(105, "a b"), "wait 5");
    assert_eq!(receiver.told.waiting, 2);
    assert_eq!(receiver.tell(110, "a b"), "a b");
    assert_eq!((receiver.told.waiting, receiver.told.unsaved), (0, true));
    assert_eq!(receiver.tell(115, "a b"), "wait 3600");
    assert_eq!(receiver.tell(120, "a b c"), "wait 50");
    assert_eq!(receiver.tell(170, "a b c"), "c");
    assert_eq!(receiver.tell(240, "a !b"), "wait 10");
    assert_eq!(receiver.tell(250, "a !b"), "!b !c");
    assert_eq!(receiver.tell(110 + 4 * 3600, "a"), "again a");
    assert_eq!(receiver.tell(20_000, ""), "wait 10");
    assert_eq!(receiver.tell(20_010, ""), "!a");
    assert_eq!(receiver.tell(20_100, ""), "wait 3600");
}

#[test]
fn what_came_and_went_while_it_was_away_is_not_told() {
    let mut receiver = Receiver::new(Style::Each);
    assert_eq!(receiver.tell(0, "a"), "wait 10");
    receiver.told.failed(&receiver.target, Style::Each, None, 0.0, at(10));
    assert_eq!(receiver.tell(10, "a b"), "wait 1");
    assert_eq!(receiver.tell(11, "!a b"), "b");
    receiver.told.failed(&receiver.target, Style::Each, None, 0.0, at(12));
    assert_eq!(receiver.tell(20_000, "c"), "wait 10");
    assert_eq!(receiver.tell(20_010, "c"), "c !b");
}

#[test]
fn attempts_back_off_to_five_minutes_and_an_alertmanager_is_asked_each_minute() {
    let waits = |style: Style| {
        let mut receiver = Receiver::new(style);
        let mut wait = |second| {
            receiver.told.failed(&receiver.target, style, None, 0.0, at(second));
            receiver.tell(second, "a").trim_start_matches("wait ").parse::<i64>().unwrap()
        };
        (1..12).map(|turn| wait(turn * 1000)).collect::<Vec<_>>()
    };
    assert_eq!(waits(Style::Group), [10, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(waits(Style::Mirror), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
    let jittered = backoff(9, 1.0);
    assert_eq!(jittered, Duration::from_secs(150));
}

#[test]
fn an_alertmanager_is_told_everything_each_minute_and_an_end_for_a_quarter_of_an_hour() {
    let mut receiver = Receiver::new(Style::Mirror);
    assert_eq!(receiver.tell(0, "a"), "a");
    assert_eq!(receiver.tell(15, "a b"), "b");
    assert_eq!(receiver.tell(16, "a b"), "wait 44");
    assert_eq!(receiver.tell(60, "a b"), "a");
    receiver.told.unsaved = false;
    assert_eq!(receiver.tell(75, "a b"), "b");
    assert!(!receiver.told.unsaved, "what is repeated each minute is not saved each minute");
    assert_eq!(receiver.tell(80, "a !b"), "!b");
    assert!(receiver.told.unsaved);
    assert_eq!(receiver.tell(140, "a !b"), "a !b");
    assert_eq!(receiver.tell(150, "a b"), "b");
    assert_eq!(receiver.tell(160, "a"), "!b");
    let last = (200..3000).filter(|second| receiver.tell(*second, "a").contains("!b")).last();
    assert_eq!(last, Some(160 + 14 * 60));
    assert_eq!(receiver.told.known.len(), 1);
}

#[test]
fn only_what_is_bad_enough_and_not_suppressed_is_told() {
    let mut receiver = Receiver::new(Style::Group);
    receiver.target.severity = Severity::Critical;
    let mild = Alert { severity: Severity::Warning, ..alert("mild", AlertState::Firing) };
    let mut mixed = board("(a) ?b", true);
    mixed.alerts.push(Arc::new(mild));
    assert_eq!(receiver.tell_board(0, &mixed), "wait 3600");
    receiver.tell(0, "a");
    assert_eq!(receiver.tell(10, "a"), "a");
    // It still fires: being silenced is not its end, and its end is told silenced or not.
    assert_eq!(receiver.tell(1000, "(a)"), "wait 3600");
    receiver.tell(2000, "!a");
    assert_eq!(receiver.tell(2010, "!a"), "!a");
}

#[test]
fn ends_can_be_left_out() {
    for style in [Style::Group, Style::Mirror] {
        let mut receiver = Receiver::new(style);
        receiver.target.resolved = false;
        receiver.tell(0, "a");
        receiver.tell(10, "a");
        assert_eq!(receiver.tell(30, "!a"), "wait 3600");
        assert!(receiver.told.known.is_empty());
    }
}

#[test]
fn what_was_not_looked_at_is_not_over() {
    let mut receiver = Receiver::new(Style::Group);
    receiver.tell(0, "a b");
    assert_eq!(receiver.tell(10, "a b"), "a b");
    receiver.tell_board(100, &board("!b", false));
    assert_eq!(receiver.tell_board(110, &board("!b", false)), "!b");
    assert_eq!(receiver.tell_board(1000, &board("", false)), "wait 3600");
    receiver.tell_board(1000, &board("", true));
    assert_eq!(receiver.tell_board(1010, &board("", true)), "!a");
}

#[test]
fn a_restart_neither_tells_twice_nor_forgets_an_end() {
    for style in [Style::Group, Style::Each] {
        let mut before = Receiver::new(style);
        before.tell(0, "a b");
        assert_eq!(before.tell(10, "a b"), "a b");
        let saved = serde_json::to_string(&before.told.save("webhook")).unwrap();
        let mut after = Receiver::new(style);
        after.told.restore(serde_json::from_str(&saved).unwrap(), at(60));
        assert_eq!(after.tell(60, "a b"), "wait 3600");
        after.tell(70, "a");
        let Next::Send(due) = after.told.next(&board("a", true), &after.target, style, at(80)) else { panic!("send") };
        assert_eq!(words(&due), "!b");
        assert_eq!(due.resolved[0].annotations["summary"], "b is wrong");
        assert_eq!(due.resolved[0].severity, Severity::Critical);
        after.told.record(&due.firing, &due.resolved, style, at(80));
        assert_eq!(after.tell(10 + 4 * 3600, "a"), "again a");
    }
}

proptest! {
    /// Boards, failures and restarts in any order: what the receiver made of its messages is what is true, as soon as it
    /// can be reached for long enough, and no message says what it knows already.
    #[test]
    fn in_the_end_it_knows_what_is_true(
        turns in proptest::collection::vec((1..200_i64, "[abc]{0,3}", 0..4_u8), 1..40),
        style in prop_oneof![Just(Style::Group), Just(Style::Each), Just(Style::Mirror)],
    ) {
        let mut receiver = Receiver::new(style);
        let mut view = std::collections::BTreeSet::new();
        let mut second = 0;
        let last = turns.last().map(|turn| (0, turn.1.clone(), 1)).unwrap();
        // An hour in which nothing fails, in steps.
        let rest = std::iter::repeat_n((60, last.1.clone(), 1), 60);
        for (wait, letters, luck) in turns.into_iter().chain(rest) {
            second += wait;
            let words: std::collections::BTreeSet<char> = letters.chars().collect();
            let text = words.iter().map(|letter| format!("{letter} ")).collect::<String>();
            let board = board(&text, true);
            if luck == 3 {
                let saved = receiver.told.save("x");
                receiver.told = Told::default();
                receiver.told.restore(saved, at(second));
            }
            let Next::Send(due) = receiver.told.next(&board, &receiver.target, style, at(second)) else { continue };
            if luck == 0 {
                receiver.told.failed(&receiver.target, style, None, 0.5, at(second));
                continue;
            }
            for alert in &due.firing {
                prop_assert!(view.insert(alert.name().to_owned()) || due.repeated || style == Style::Mirror);
            }
            for alert in &due.resolved {
                prop_assert!(view.remove(alert.name()) || style == Style::Mirror);
            }
            receiver.told.record(&due.firing, &due.resolved, style, at(second));
            receiver.told.succeeded();
        }
        let truth: std::collections::BTreeSet<String> = last.1.chars().map(String::from).collect();
        prop_assert_eq!(view, truth);
        prop_assert_eq!(receiver.told.waiting, 0);
    }
}

#[test]
fn an_alert_that_is_refused_holds_back_no_other() {
    let mut receiver = Receiver::new(Style::Each);
    receiver.target.group_wait = Duration::ZERO;
    receiver.target.group_interval = Duration::ZERO;
    let refused = |receiver: &mut Receiver, second| {
        receiver.told.refused(&[Arc::new(alert("a", AlertState::Firing))], 0.0, at(second));
        receiver.told.succeeded();
    };
    refused(&mut receiver, 100);
    assert_eq!(receiver.tell(100, "a"), "wait 1");
    assert_eq!(receiver.tell(100, "a b"), "b");
    assert_eq!(receiver.told.waiting, 1);
    refused(&mut receiver, 101);
    assert_eq!(receiver.tell(101, "a b"), "wait 2");
    assert_eq!(receiver.tell(102, "a b !c"), "wait 1");
    assert!(!receiver.told.takes_all());
    assert_eq!(receiver.tell(103, "a b"), "a");
    assert!(receiver.told.takes_all());
    // What is over before it was ever told is not tried again.
    refused(&mut receiver, 200);
    assert_eq!(receiver.tell(201, "a b d"), "d");
    assert!(receiver.told.takes_all());
}
