//! ntfy: the text is the body, the rest is in headers (docs.ntfy.sh/publish).

use async_trait::async_trait;
use http::Method;

use super::client::{Content, Endpoint};
use super::words::{annotation, body, headline, paragraph};
use crate::domain::limits::NTFY_TEXT_BYTES_MAX;
use crate::domain::reason::Reason;
use crate::domain::verdict::Severity;
use crate::usecase::ports::{AlertMessage, AlertReceiver};

pub(super) struct Ntfy {
    endpoint: Endpoint,
    page: Option<String>,
}

impl Ntfy {
    pub(super) fn new(endpoint: Endpoint, page: Option<String>) -> Self {
        Self { endpoint, page }
    }
}

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

#[async_trait]
impl AlertReceiver for Ntfy {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        let (priority, tags) = match message.firing.first().map(|alert| alert.severity) {
            Some(Severity::Critical) => ("5", "rotating_light"),
            Some(Severity::Warning) => ("4", "warning"),
            Some(Severity::Info) => ("3", "information_source"),
            None => ("3", "white_check_mark"),
        };
        let mut headers =
            vec![("title", ascii(&headline(message))), ("priority", priority.to_owned()), ("tags", tags.to_owned())];
        let runbook = message.firing.first().map(|alert| annotation(alert, "runbook_url"));
        let link = runbook.filter(|url| !url.is_empty()).or(self.page.as_deref());
        headers.extend(link.map(|url| ("click", ascii(url))));
        let body = body(message, NTFY_TEXT_BYTES_MAX, paragraph);
        self.endpoint
            .send(Method::POST, "", Content { body, content_type: "text/plain; charset=utf-8", headers: &headers })
            .await
    }
}
