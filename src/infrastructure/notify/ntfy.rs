//! ntfy: the text is the body, the rest is in headers (docs.ntfy.sh/publish).

use http::HeaderName;

use super::Sender;
use super::client::Request;
use super::words::{annotation, body, headline, paragraph};
use crate::domain::limits::NTFY_TEXT_BYTES_MAX;
use crate::domain::verdict::Severity;
use crate::usecase::ports::AlertMessage;

/// The text as a header can hold it.
fn ascii(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let plain = |character: char| match character {
        ' '..='~' => character,
        '…' => '.',
        _ => '?',
    };
    text.chars().take(CHARACTERS_MAX).map(plain).collect()
}

pub(super) fn requests(message: &AlertMessage, sender: &Sender) -> Vec<Request> {
    let (priority, tags) = match message.firing.first().map(|alert| alert.severity) {
        Some(Severity::Critical) => ("5", "rotating_light"),
        Some(Severity::Warning) => ("4", "warning"),
        Some(Severity::Info) => ("3", "information_source"),
        None => ("3", "white_check_mark"),
    };
    let mut request = Request::text(body(message, &sender.line(), NTFY_TEXT_BYTES_MAX, paragraph));
    let mut header = |name, value| request.headers.push((HeaderName::from_static(name), value));
    header("title", ascii(&headline(message)));
    header("priority", priority.to_owned());
    header("tags", tags.to_owned());
    let runbook = message.firing.first().map(|alert| annotation(alert, "runbook_url"));
    if let Some(url) = runbook.filter(|url| !url.is_empty()).or(sender.page.as_deref()) {
        header("click", ascii(url));
    }
    vec![request]
}
