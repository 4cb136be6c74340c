//! How alerts are made of checks, and to whom they go: what the configuration says.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::check::Severity;
use super::drill::schedule::DrillWindow;
use super::secret::Secret;

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
    /// Times of the day, and the days of the week (`MON` to `SUN`, empty: every), in local time.
    pub window: Option<DrillWindow>,
    pub days: Vec<jiff::civil::Weekday>,
    /// Why, which is shown beside what it silences.
    pub reason: String,
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

/// What speaks at the other end. Addresses may hold secrets and are never shown whole.
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
