//! `streamgauge notify test`: one alert that is none, and its end, through each receiver.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::args::{SourceArgs, choice_of};
use super::output;
use super::runtime::block_on;
use super::sources::{Sources, web_config};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::alerting::{Alerting, ReceiverTarget};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::verdict::Severity;
use crate::infrastructure::clock;
use crate::infrastructure::config::{ListenAddress, Settings};
use crate::infrastructure::notify::{Receivers, Sender, place};
use crate::infrastructure::process::host_name;
use crate::usecase::ports::{AlertMessage, AlertReceivers};

pub const AFTER_HELP: &str = "\
The alert is named StreamgaugeTest and says that it is a test. Its end follows at once, unless the receiver has \
resolved = false. A dead-man's switch is told that all is well.

Exit code: 0 every receiver accepted it, 2 at least one did not.

Examples:
  streamgauge notify test
  streamgauge notify test pagerduty --severity warning";

#[derive(Args, Debug)]
pub struct NotifyArgs {
    #[command(subcommand)]
    pub command: NotifyCommand,
}

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a test alert and its end through each receiver, and report the results
    #[command(after_help = AFTER_HELP)]
    Test(TestArgs),
}

#[derive(Args, Debug)]
pub struct TestArgs {
    /// Only these receivers, by name [default: all]
    #[arg(value_name = "RECEIVER")]
    pub receivers: Vec<String>,

    #[command(flatten)]
    pub sources: SourceArgs,

    /// Severity of the test alert
    #[arg(long, value_parser = choice_of(Severity::ALL, Severity::as_str), default_value = "critical")]
    pub severity: Severity,
}

/// The name of the dead-man's switch, as in reports.
const DEADMAN: &str = "deadman";

/// Sends, and prints a line for each receiver.
///
/// # Errors
///
/// Problems of the configuration, and receivers that it does not name.
pub fn main(args: &NotifyArgs) -> Result<ExitCode, Reason> {
    let NotifyCommand::Test(args) = &args.command;
    let settings = Sources::new(&args.sources).settings()?;
    let alerting = &settings.alerting;
    let names: Vec<&str> = alerting.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    let known = |name: &String| names.contains(&name.as_str()) || (alerting.deadman.is_some() && name == DEADMAN);
    if let Some(unknown) = args.receivers.iter().find(|name| !known(name)) {
        let reason = Reason::new(ReasonKind::NotFound, format!("{unknown}: no such receiver"));
        return Err(reason.with_hint(format!("the configuration has {}", names.join(", "))));
    }
    if names.is_empty() && alerting.deadman.is_none() {
        let reason = Reason::new(ReasonKind::Misconfigured, "no receiver is configured");
        return Err(reason.with_hint("add a [[receiver]] to streamgauge.toml, and name the file with --config.file"));
    }
    let wanted = |name: &str| args.receivers.is_empty() || args.receivers.iter().any(|wanted| wanted == name);
    let outcomes = block_on(test(alerting, &Receivers::new(sender(&settings)), &wanted, args.severity))?;
    output::print(&text(&outcomes))?;
    let failed = outcomes.iter().any(|(_, outcome)| outcome.is_err());
    Ok(ExitCode::from(if failed { 2 } else { 0 }))
}

/// A receiver in a word or three, and how it went.
type Outcome = (String, Result<(), Reason>);

async fn test(
    alerting: &Alerting,
    receivers: &Receivers,
    wanted: &dyn Fn(&str) -> bool,
    severity: Severity,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for target in alerting.receivers.iter().filter(|target| wanted(&target.name)) {
        let mut outcome = Ok(());
        for receiver in receivers.open(target) {
            for message in messages(target, alerting, severity, clock::wall()) {
                if outcome.is_ok() {
                    outcome = receiver.send(&message).await;
                }
            }
        }
        outcomes.push((format!("{}  {}  {}", target.name, target.kind.as_str(), place(&target.kind)), outcome));
    }
    if let Some(target) = alerting.deadman.as_ref().filter(|_| wanted(DEADMAN)) {
        outcomes.push((DEADMAN.to_owned(), receivers.open_deadman(target).ping(None).await));
    }
    outcomes
}

/// That something fires, and that it does no longer.
fn messages(target: &ReceiverTarget, alerting: &Alerting, severity: Severity, at: Timestamp) -> Vec<AlertMessage> {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labels = alerting.labels.clone();
    labels.extend([text("alertname", "StreamgaugeTest"), text("severity", severity.as_str())]);
    let annotations = BTreeMap::from([
        text("summary", "a test of streamgauge's notifications"),
        text("description", "Somebody ran `streamgauge notify test`. Nothing is wrong."),
    ]);
    let firing = Alert {
        labels,
        annotations,
        severity,
        state: AlertState::Firing,
        active_at: at,
        fired_at: Some(at),
        ended_at: None,
        resolved_at: None,
        value: 1.0,
        suppressed: None,
    };
    let over = Alert { state: AlertState::Resolved, ended_at: Some(at), resolved_at: Some(at), ..firing.clone() };
    let message = |firing: Vec<Arc<Alert>>, resolved: Vec<Arc<Alert>>| AlertMessage {
        receiver: target.name.clone(),
        at,
        firing_total: firing.len(),
        firing,
        resolved,
        omitted: 0,
        repeated: false,
        valid_until: at.saturating_add(SignedDuration::from_mins(4)).unwrap_or(at),
    };
    let mut messages = vec![message(vec![Arc::new(firing)], Vec::new())];
    if target.resolved {
        messages.push(message(Vec::new(), vec![Arc::new(over)]));
    }
    messages
}

fn text(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (receiver, outcome) in outcomes {
        let _ = match outcome {
            Ok(()) => writeln!(text, "ok      {receiver}"),
            Err(reason) => {
                let hint = reason.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                writeln!(text, "failed  {receiver}: {reason}{hint}")
            }
        };
    }
    text
}

/// Who tells: its host, and the address of its page if others could reach it, on the first port that is not of the
/// loopback interface alone.
pub fn sender(settings: &Settings) -> Sender {
    let host = host_name();
    let port = settings.web.listen_address.iter().find_map(ListenAddress::port_for_others);
    let tls = web_config(settings).is_ok_and(|web| web.is_some_and(|web| web.has_tls()));
    let page = port.map(|port| format!("{}://{host}:{port}/", if tls { "https" } else { "http" }));
    Sender { host, page }
}
