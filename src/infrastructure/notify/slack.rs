//! `{"text": …}`: Slack's incoming webhooks, and those of Mattermost, Rocket.Chat and Discord (`/slack`).

use serde_json::json;

use super::Sender;
use super::client::Request;
use super::words::{annotation, body, ended, headline, one_line, summary};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::limits::CHAT_TEXT_BYTES_MAX;
use crate::domain::verdict::Severity;
use crate::usecase::ports::AlertMessage;

/// On one line, without the three characters that mean something to Slack.
fn escape(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn line(alert: &Alert) -> String {
    let summary = escape(summary(alert));
    if alert.state == AlertState::Resolved {
        let sign = if alert.is_resolved() { ":white_check_mark:" } else { ":grey_question:" };
        return format!("{sign} *{}* {summary}\n", escape(&ended(alert)));
    }
    let sign = match alert.severity {
        Severity::Critical => ":red_circle:",
        Severity::Warning => ":large_orange_circle:",
        Severity::Info => ":large_blue_circle:",
    };
    let mut text = format!("{sign} *{}* {summary}\n", alert.severity.as_str());
    for name in ["description", "action"] {
        match annotation(alert, name) {
            "" => {}
            said => text.push_str(&format!("{}\n", escape(said))),
        }
    }
    // Without Slack's own form of a link, which others show as it stands.
    text.push_str(annotation(alert, "runbook_url"));
    text.push('\n');
    text
}

pub(super) fn requests(message: &AlertMessage, sender: &Sender) -> Vec<Request> {
    let alone = message.firing.len() + message.resolved.len() + message.omitted == 1;
    let head = if alone { String::new() } else { format!("*{}*\n", escape(&headline(message))) };
    let room = CHAT_TEXT_BYTES_MAX.saturating_sub(head.len());
    let text = format!("{head}{}", body(message, &escape(&sender.line()), room, line));
    vec![Request::json(&json!({ "text": text.trim_end() }))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_no_line_and_no_markup() {
        assert_eq!(escape("a\n:red_circle: <!channel> & b"), "a :red_circle: &lt;!channel&gt; &amp; b");
    }
}
