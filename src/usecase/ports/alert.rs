//! Where reports and alerts go.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::alert::Alert;
use crate::domain::alerting::{Alerting, DeadmanTarget, ReceiverTarget};
use crate::domain::assessment::ReceiverReport;
use crate::domain::reason::Reason;
use crate::domain::report::Report;

/// Where reports go.
pub trait Publisher: Send + Sync {
    fn publish(&self, report: Report);
}

/// Takes alerts to whoever should know. It never blocks: only the newest board counts, and what was not delivered yet is
/// seen by comparing with it.
pub trait AlertOutlet: Send + Sync {
    /// Takes over where alerts go; what a receiver of the same name was told stays known.
    fn configure(&self, alerting: &Alerting);

    /// Everything that is true now: after each evaluation, whether anything changed or not, because the dead-man's switch
    /// stops when nobody evaluates any more.
    fn tell(&self, board: AlertBoard);

    /// How each receiver does, in the order of the configuration.
    fn report(&self) -> Vec<ReceiverReport>;

    /// Who was told what, if that changed since it was last asked for: to be saved at once.
    fn unsaved(&self) -> Option<String>;

    /// Takes over what an earlier run saved, so that nobody is told twice and nobody waits for the end of an alert.
    fn restore(&self, saved: &str);
}

/// All alerts at one instant.
#[derive(Clone, Debug)]
pub struct AlertBoard {
    pub at: Timestamp,
    /// Every target was looked at, so that what is not on the board is well.
    pub complete: bool,
    /// How many databases and replicas without one are watched.
    pub databases: usize,
    /// Those that fire, and those that were resolved not long ago.
    pub alerts: Vec<Arc<Alert>>,
}

/// A message to a receiver.
#[derive(Clone, Debug)]
pub struct AlertMessage {
    /// The receiver's name.
    pub receiver: String,
    pub at: Timestamp,
    /// Those that fire, the worst first.
    pub firing: Vec<Arc<Alert>>,
    /// Those that did, and do no longer.
    pub resolved: Vec<Arc<Alert>>,
    /// Alerts that belong to this message and are only counted.
    pub omitted: usize,
    /// Alerts of which the receiver knows, or learns now, that they fire.
    pub firing_total: usize,
    /// Nothing is new: what still fires is told again.
    pub repeated: bool,
    /// When firing alerts count as over unless they are sent again.
    pub valid_until: Timestamp,
}

/// One place to which alerts go.
#[async_trait]
pub trait AlertReceiver: Send + Sync {
    /// Delivers one message. The error is without secrets: it names the host at most.
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason>;
}

/// A dead-man's switch.
#[async_trait]
pub trait DeadmanSwitch: Send + Sync {
    /// Says that all is well, or what is not.
    async fn ping(&self, failing: Option<&str>) -> Result<(), Reason>;
}

/// Opens what the configuration names. Does no IO: what is wrong with a place is found by the first message.
pub trait AlertReceivers: Send + Sync {
    /// The places that are told, each by itself: one, or each Alertmanager.
    fn open(&self, target: &ReceiverTarget) -> Vec<Arc<dyn AlertReceiver>>;

    fn open_deadman(&self, target: &DeadmanTarget) -> Arc<dyn DeadmanSwitch>;
}
