//! How alerts are made of checks, and to whom they go: what the configuration says.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::secret::Secret;
use super::verdict::Severity;
use super::window::DailyWindow;

/// `[alerting]`, `[[silence]]`, `[[receiver]]` and `[deadman]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerting {
    /// How often the rules are evaluated. Default 15 seconds.
    pub evaluation_interval: Duration,
    /// Labels of every alert besides those of its rule, as Prometheus adds them: `job` and `instance` by default.
    pub labels: BTreeMap<String, String>,
    /// Where the runbook is; `#` and the check's name in lower case follow.
    pub runbook_url: String,
    /// Where the dashboard is, if anywhere.
    pub dashboard_url: Option<String>,
    pub silences: Vec<Silence>,
    pub receivers: Vec<ReceiverTarget>,
    pub deadman: Option<DeadmanTarget>,
}

/// Where docs/RUNBOOK.md is published.
pub const RUNBOOK_URL: &str = "https://github.com/streamgauge/streamgauge/blob/main/docs/RUNBOOK.md";

impl Default for Alerting {
    fn default() -> Self {
        Self {
            evaluation_interval: Duration::from_secs(15),
            labels: BTreeMap::new(),
            runbook_url: RUNBOOK_URL.to_owned(),
            dashboard_url: None,
            silences: Vec::new(),
            receivers: Vec::new(),
            deadman: None,
        }
    }
}

/// Alerts of which nobody is told: a maintenance window, or a check that is not wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silence {
    /// Names of checks; empty: all.
    pub checks: Vec<String>,
    /// Names of databases, with `*` for any characters; empty: all, and the agent itself.
    pub databases: Vec<String>,
    /// Instants between which it is in force; open where absent.
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Times of the day, in local time; `None`: any.
    pub window: Option<DailyWindow>,
    /// Days of the week on which a window begins; empty: every.
    pub days: Vec<Weekday>,
    /// Why, which is shown beside what it silences.
    pub reason: String,
}

impl Silence {
    /// Whether it is in force.
    pub fn holds(&self, now: Timestamp) -> bool {
        let begun = self.from.is_none_or(|from| now >= from);
        let ended = self.until.is_some_and(|until| now >= until);
        begun && !ended && self.window.as_ref().is_none_or(|window| window.is_open(now)) && self.on_its_days(now)
    }

    /// Whether it is one of its days; what of a window lies behind midnight belongs to the day before.
    fn on_its_days(&self, now: Timestamp) -> bool {
        if self.days.is_empty() {
            return true;
        }
        let local = now.to_zoned(self.window.as_ref().map_or(TimeZone::UTC, |window| window.zone.clone()));
        let behind_midnight =
            self.window.as_ref().is_some_and(|window| window.from > window.to && local.time() < window.to);
        let today = local.weekday();
        self.days.contains(&if behind_midnight { today.previous() } else { today })
    }

    /// Whether it is about this check of this database, or of the agent itself.
    pub fn covers(&self, check: &str, database: Option<&str>) -> bool {
        let checks = self.checks.is_empty() || self.checks.iter().any(|name| name == check);
        let database = self.databases.is_empty()
            || database.is_some_and(|name| self.databases.iter().any(|pattern| matches(pattern, name)));
        checks && database
    }
}

/// Whether a name matches a pattern in which `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// One `[[receiver]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverTarget {
    /// The `receiver` label.
    pub name: String,
    /// The least severe alert that it is told of. Default: warning.
    pub severity: Severity,
    /// Tell it as well when an alert is over. Default true.
    pub resolved: bool,
    /// How long to wait for more alerts before the first notification of a group. Default 10 seconds.
    pub group_wait: Duration,
    /// The least time between two notifications. Default 1 minute.
    pub group_interval: Duration,
    /// How often what still fires is told again. Default 4 hours; Alertmanager: 1 minute.
    pub repeat_interval: Duration,
    pub kind: ReceiverKind,
}

/// The kind of a receiver. Addresses may hold secrets and are never shown in full.
#[derive(Clone, Debug, PartialEq)]
pub enum ReceiverKind {
    /// Each of them is told, as Prometheus does.
    Alertmanager {
        urls: Vec<Secret>,
        http: HttpOptions,
    },
    /// Our JSON, which is documented in docs/ALERTING.md.
    Webhook {
        url: Secret,
        http: HttpOptions,
    },
    /// `{"text": …}`, which Slack, Mattermost, Rocket.Chat and Discord's `/slack` understand.
    Slack {
        url: Secret,
        http: HttpOptions,
    },
    Smtp(Box<SmtpTarget>),
    /// Events API v2.
    PagerDuty {
        routing_key: Secret,
        url: Secret,
        http: HttpOptions,
    },
    /// A topic's address.
    Ntfy {
        url: Secret,
        http: HttpOptions,
    },
}

impl ReceiverKind {
    /// The word in the configuration and in reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Alertmanager { .. } => "alertmanager",
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Smtp(_) => "smtp",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Ntfy { .. } => "ntfy",
        }
    }
}

/// How a receiver is reached over HTTP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpOptions {
    /// User name and password.
    pub basic: Option<(String, Secret)>,
    pub bearer: Option<Secret>,
    /// PEM file with additional certificate authorities.
    pub ca_file: Option<std::path::PathBuf>,
    /// Accept any certificate.
    pub skip_verify: bool,
}

/// Mail.
#[derive(Clone, Debug, PartialEq)]
pub struct SmtpTarget {
    pub host: String,
    pub port: u16,
    pub security: SmtpSecurity,
    pub login: Option<(String, Secret)>,
    pub from: String,
    pub to: Vec<String>,
    pub ca_file: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the start (port 465).
    Tls,
    /// Refuse to go on without STARTTLS (port 587).
    StartTls,
    /// Plain text.
    None,
}

/// `[deadman]`: an address that is pinged while the agent works, in the manner of healthchecks: `/fail` behind it, with a
/// text, while something critical fires.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadmanTarget {
    pub url: Secret,
    /// Default 1 minute.
    pub interval: Duration,
    /// Alerts at least so bad make it say `/fail`. Default critical.
    pub severity: Severity,
    pub http: HttpOptions,
}

#[cfg(test)]
mod tests {
    use jiff::civil::Time;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn star_stands_for_any_characters() {
        let check = |pattern, name, expected| assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        check("shop", "shop", true);
        check("shop", "shop2", false);
        check("", "", true);
        check("*", "", true);
        check("*", "anything", true);
        check("shop/*", "shop/de", true);
        check("shop/*", "shop", false);
        check("*de", "shop/de", true);
        check("a*a", "a", false);
        check("a*b*c", "a1b2c", true);
        check("a*b*c", "acb", false);
        check("a**c", "abc", true);
        check("*é*", "café au lait", true);
    }

    /// Every way to cut the name.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|cut| naive(rest, &name[cut..])),
            Some((first, rest)) => name.first() == Some(first) && naive(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matches_as_trying_everything_does(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), naive(&chars(&pattern), &chars(&name)));
        }
    }

    #[test]
    fn silence_covers_what_it_names() {
        let all = Silence::default();
        assert!(all.covers("ReplicaGap", Some("shop")) && all.covers("ConfigReloadFailed", None));
        let some =
            Silence { checks: vec!["ReplicaGap".into()], databases: vec!["test-*".into()], ..Silence::default() };
        assert!(some.covers("ReplicaGap", Some("test-1")));
        assert!(!some.covers("ReplicaGap", Some("shop")));
        assert!(!some.covers("ReplicaGap", None));
        assert!(!some.covers("ReplicationLag", Some("test-1")));
    }

    #[test]
    fn silence_holds_between_its_instants() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let silence = Silence {
            from: Some(at("2026-11-22T10:00:00Z")),
            until: Some(at("2026-11-22T12:00:00Z")),
            ..Silence::default()
        };
        assert!(!silence.holds(at("2026-11-22T09:59:59Z")));
        assert!(silence.holds(at("2026-11-22T10:00:00Z")));
        assert!(!silence.holds(at("2026-11-22T12:00:00Z")));
        assert!(Silence::default().holds(at("2026-11-22T12:00:00Z")));
    }

    #[test]
    fn window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let window = DailyWindow { from: Time::constant(22, 0, 0, 0), to: Time::constant(4, 0, 0, 0), zone };
        let silence = Silence { window: Some(window), days: vec![Weekday::Saturday], ..Silence::default() };
        // 2026-11-21 is a Saturday; Berlin is an hour ahead.
        let holds = |text: &str| silence.holds(text.parse::<Timestamp>().unwrap());
        assert!(!holds("2026-11-21T20:59:00Z"));
        assert!(holds("2026-11-21T21:00:00Z"));
        assert!(holds("2026-11-22T02:59:00Z"));
        assert!(!holds("2026-11-22T03:00:00Z"));
        assert!(!holds("2026-11-22T21:30:00Z"));
        assert!(!holds("2026-11-21T01:00:00Z"), "that is Friday's");
    }
}
