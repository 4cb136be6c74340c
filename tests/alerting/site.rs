//! The outlet as the agent has it, with real receivers, told boards by the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use streamgauge::domain::alert::{Alert, AlertState};
use streamgauge::domain::alerting::{Alerting, DeadmanTarget, HttpOptions, ReceiverKind, ReceiverTarget};
use streamgauge::domain::assessment::ReceiverReport;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::verdict::Severity;
use streamgauge::infrastructure::clock::SystemClock;
use streamgauge::infrastructure::notify::{Receivers, Sender};
use streamgauge::usecase::notify::Outlet;
use streamgauge::usecase::ports::{AlertBoard, AlertOutlet};
use tokio::runtime::Runtime;

/// A receiver that is told at once, and again each second where that is what it needs.
pub(crate) fn target(name: &str, kind: ReceiverKind) -> ReceiverTarget {
    let repeat = if matches!(kind, ReceiverKind::Alertmanager { .. }) { 1 } else { 3600 };
    ReceiverTarget {
        name: name.to_owned(),
        severity: Severity::Info,
        resolved: true,
        group_wait: Duration::from_millis(1),
        group_interval: Duration::from_millis(1),
        repeat_interval: Duration::from_secs(repeat),
        kind,
    }
}

pub(crate) fn alertmanager(urls: &[String]) -> ReceiverTarget {
    let urls = urls.iter().map(Secret::new).collect();
    target("am", ReceiverKind::Alertmanager { urls, http: HttpOptions::default() })
}

/// An alert that began a minute ago.
pub(crate) fn alert(name: &str, database: &str, severity: Severity) -> Alert {
    let ago = |seconds: i64| Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap();
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Alert {
        labels: BTreeMap::from([
            text("alertname", name),
            text("database", database),
            text("instance", "host:10099"),
            text("severity", severity.as_str()),
        ]),
        annotations: BTreeMap::from([
            text("summary", &format!("{database} is behind <its> replica")),
            text("description", "Its oldest commit has waited for 6 min – & waits."),
            text("action", "Look at Litestream's log."),
            text("runbook_url", "https://example.org/RUNBOOK.md#replicationlag"),
        ]),
        severity,
        state: AlertState::Firing,
        active_at: ago(120),
        fired_at: Some(ago(60)),
        ended_at: None,
        resolved_at: None,
        value: 360.0,
        suppressed: None,
    }
}

pub(crate) fn over(alert: &Alert) -> Alert {
    Alert { state: AlertState::Resolved, resolved_at: Some(Timestamp::now()), ..alert.clone() }
}

/// The outlet on a runtime of its own.
pub(crate) struct Site {
    runtime: Runtime,
    pub(crate) outlet: Arc<Outlet>,
}

impl Site {
    pub(crate) fn start(receivers: Vec<ReceiverTarget>, deadman: Option<DeadmanTarget>) -> Self {
        Self::resume(receivers, deadman, None)
    }

    /// Goes on from what an earlier one saved.
    pub(crate) fn resume(receivers: Vec<ReceiverTarget>, deadman: Option<DeadmanTarget>, saved: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let receiving = Receivers::new(Sender { host: "host".to_owned(), page: Some("http://host:10099/".to_owned()) });
        let outlet = Arc::new(Outlet::new(Arc::new(SystemClock::start()), Arc::new(receiving)));
        let _inside = runtime.enter();
        if let Some(saved) = saved {
            outlet.restore(saved);
        }
        outlet.configure(&Alerting { receivers, deadman, ..Alerting::default() });
        Self { runtime, outlet }
    }

    pub(crate) fn tell(&self, alerts: &[Alert]) {
        let alerts = alerts.iter().cloned().map(Arc::new).collect();
        self.outlet.tell(AlertBoard { at: Timestamp::now(), complete: true, databases: 1, alerts });
    }

    pub(crate) fn report(&self) -> ReceiverReport {
        self.outlet.report().remove(0)
    }

    /// Ends it as a kill would, and gives what was saved.
    pub(crate) fn kill(self) -> Option<String> {
        let saved = self.outlet.unsaved();
        self.runtime.shutdown_background();
        saved
    }
}
