//! `[[receiver]]` and `[deadman]`: who is told of alerts. Addresses and keys are secrets, which a file of their own may
//! hold.

use std::collections::HashSet;
use std::time::Duration;

use http::Uri;
use lettre::message::Mailbox;

use crate::domain::alerting::{DeadmanTarget, HttpOptions, ReceiverKind, ReceiverTarget, SmtpSecurity, SmtpTarget};
use crate::domain::limits::{RECEIVERS_MAX, SECRET_FILE_BYTES_MAX};
use crate::domain::secret::Secret;
use crate::domain::verdict::Severity;
use crate::infrastructure::config::litestream::replica::Context;
use crate::infrastructure::config::source::text::read_text;
use crate::infrastructure::config::value::label;
use crate::infrastructure::config::value::section::Section;

const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

const KINDS: &[&str] = &["alertmanager", "webhook", "slack", "smtp", "pagerduty", "ntfy"];

const SECURITIES: [(&str, SmtpSecurity); 3] =
    [("starttls", SmtpSecurity::StartTls), ("tls", SmtpSecurity::Tls), ("none", SmtpSecurity::None)];

/// The name under which the dead-man's switch is reported.
const DEADMAN: &str = "deadman";

const MINUTE: Duration = Duration::from_secs(60);

/// Reads every `[[receiver]]`.
pub(crate) fn receivers(root: &mut Section<'_>, context: &Context<'_>) -> Vec<ReceiverTarget> {
    let sections = root.sections_up_to("receiver", RECEIVERS_MAX, &format!("at most {RECEIVERS_MAX} receivers"));
    let mut names = HashSet::new();
    sections.into_iter().filter_map(|section| receiver(section, &mut names, context)).collect()
}

/// `severity`: the least severe alert that is told.
fn severity(section: &mut Section<'_>) -> Option<Severity> {
    section.choice("severity", Severity::ALL.iter().map(|severity| (severity.as_str(), *severity)))
}

fn receiver(mut section: Section<'_>, names: &mut HashSet<String>, context: &Context<'_>) -> Option<ReceiverTarget> {
    let kind = section.choice("kind", KINDS.iter().map(|kind| (*kind, *kind)));
    section.require("kind", &KINDS.join(", "));
    let named = section.has("name");
    let name = section.parsed("name", label::ACCEPTED, |name| match label::parse(name)? {
        name if name == DEADMAN => Err("the name of the dead-man's switch"),
        name => Ok(name),
    });
    let name = if named { name } else { kind.map(str::to_owned) };
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        let place = if named { section.place_of("name") } else { section.place().clone() };
        section.problem(place.problem("a second receiver of this name").value(name).accepted("each `name` once"));
    }
    let repeat = if kind == Some("alertmanager") { MINUTE } else { 240 * MINUTE };
    let severity = severity(&mut section).unwrap_or(Severity::Warning);
    let resolved = section.boolean("resolved").unwrap_or(true);
    let group_wait = section.duration("group-wait").unwrap_or(Duration::from_secs(10));
    let group_interval = section.interval("group-interval").unwrap_or(MINUTE);
    let repeat_interval = section.interval("repeat-interval").unwrap_or(repeat);
    let Some(kind) = kind else {
        // Without knowing what it is, nothing can be said of its other keys.
        section.leave();
        return None;
    };
    let kind = of_kind(kind, &mut section, context);
    Some(ReceiverTarget { name: name?, severity, resolved, group_wait, group_interval, repeat_interval, kind: kind? })
}

fn of_kind(kind: &str, section: &mut Section<'_>, context: &Context<'_>) -> Option<ReceiverKind> {
    if kind == "smtp" {
        return smtp(section, context).map(Box::new).map(ReceiverKind::Smtp);
    }
    let http = http_options(section, context);
    Some(match kind {
        "alertmanager" => ReceiverKind::Alertmanager { urls: urls(section)?, http },
        "webhook" => ReceiverKind::Webhook { url: url(section, context, None)?, http },
        "slack" => ReceiverKind::Slack { url: url(section, context, None)?, http },
        "ntfy" => ReceiverKind::Ntfy { url: url(section, context, None)?, http },
        _ => {
            let url = url(section, context, Some(PAGERDUTY_URL));
            let routing_key = required_secret(section, "routing-key", "routing-key-file", context);
            ReceiverKind::PagerDuty { routing_key: routing_key?, url: url?, http }
        }
    })
}

/// Reads `[deadman]`; `None` where there is none.
pub(crate) fn deadman(root: &mut Section<'_>, context: &Context<'_>) -> Option<DeadmanTarget> {
    let mut section = root.section(DEADMAN)?;
    Some(DeadmanTarget {
        interval: section.interval("interval").unwrap_or(MINUTE),
        severity: severity(&mut section).unwrap_or(Severity::Critical),
        http: http_options(&mut section, context),
        url: url(&mut section, context, None).unwrap_or_else(|| Secret::new("")),
    })
}

fn http_options(section: &mut Section<'_>, context: &Context<'_>) -> HttpOptions {
    let basic = login(section, context);
    let bearer = secret(section, "bearer-token", "bearer-token-file", context);
    if basic.is_some() && bearer.is_some() {
        section.wrong("username", "beside a bearer token", "one of the two");
    }
    HttpOptions {
        basic,
        bearer,
        ca_file: section.parsed("ca-file", "a readable file", |text| context.base.readable(text)),
        skip_verify: section.boolean("skip-verify").unwrap_or(false),
    }
}

fn login(section: &mut Section<'_>, context: &Context<'_>) -> Option<(String, Secret)> {
    let user = section.text("username");
    let password = secret(section, "password", "password-file", context);
    match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (Some(_), None) if !section.has("password") && !section.has("password-file") => {
            section.wrong("password", "missing beside `username`", "");
            None
        }
        (None, Some(_)) => {
            section.wrong("username", "missing beside `password`", "");
            None
        }
        _ => None,
    }
}

/// A secret that stands here, or in a file that is named here.
fn secret(
    section: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
    context: &Context<'_>,
) -> Option<Secret> {
    let here = section.secret(key);
    let file = section.parsed(file_key, "a readable file that holds nothing else", |text| {
        let path = context.base.absolute(text)?;
        context.base.depends_on(&path);
        let text = read_text(&path, SECRET_FILE_BYTES_MAX)?;
        match text.trim() {
            "" => Err("empty".to_owned()),
            text if text.contains(char::is_control) => Err("more than one line".to_owned()),
            text => Ok(Secret::new(text)),
        }
    });
    section.exclude(key, file_key);
    here.or(file)
}

fn required_secret(
    section: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
    context: &Context<'_>,
) -> Option<Secret> {
    let secret = secret(section, key, file_key, context);
    if !section.has(key) && !section.has(file_key) {
        section.wrong(key, "missing", &format!("`{key}` or `{file_key}`"));
    }
    secret
}

fn url(section: &mut Section<'_>, context: &Context<'_>, default: Option<&str>) -> Option<Secret> {
    let url = match default {
        Some(default) => secret(section, "url", "url-file", context).unwrap_or_else(|| Secret::new(default)),
        None => required_secret(section, "url", "url-file", context)?,
    };
    match address(url.expose()) {
        Ok(()) => Some(url),
        Err((message, accepted)) => {
            let key = if section.has("url") { "url" } else { "url-file" };
            section.wrong(key, message, accepted);
            None
        }
    }
}

fn urls(section: &mut Section<'_>) -> Option<Vec<Secret>> {
    const ACCEPTED: &str = "the address of each Alertmanager, such as http://127.0.0.1:9093";
    section.require("url", ACCEPTED);
    let mut urls = Vec::new();
    for scalar in section.texts("url", ACCEPTED)? {
        match address(scalar.text) {
            Ok(()) => urls.push(Secret::new(scalar.text)),
            Err((message, accepted)) => section.problem(scalar.place.problem(message).accepted(accepted)),
        }
    }
    Some(urls)
}

/// Checks an address; an error is the problem and what would be accepted. The address itself is not shown.
fn address(text: &str) -> Result<(), (&'static str, &'static str)> {
    const ACCEPTED: &str = "http://host:port/path or https://…";
    let uri: Uri = text.parse().map_err(|_| ("not an address", ACCEPTED))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(("not the address of an HTTP server", ACCEPTED));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(("holds a user name or a password", "`username` and `password` beside it"))
        }
        _ => Ok(()),
    }
}

fn smtp(section: &mut Section<'_>, context: &Context<'_>) -> Option<SmtpTarget> {
    ["host", "from", "to"].iter().for_each(|key| section.require(key, ""));
    let host = section.parsed("host", "the name or address of a mail server", |host| {
        let odd = |character: char| character.is_whitespace() || character.is_control() || "/@".contains(character);
        if host.is_empty() || host.contains(odd) { Err("not a host") } else { Ok(host.to_owned()) }
    });
    let secured = section.choice("security", SECURITIES.into_iter()).unwrap_or(SmtpSecurity::StartTls);
    let port = section.integer("port", 1..=u16::MAX);
    let default_port = match secured {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::None => 25,
    };
    let login = login(section, context);
    if login.is_some() && secured == SmtpSecurity::None {
        section.warn("password", "would be sent in plain text, because `security` is none", "");
    }
    let mailbox = |text: &str| match text.parse::<Mailbox>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("not a mail address"),
    };
    const MAILBOX: &str = "an address such as ops@example.org or Ops <ops@example.org>";
    let from = section.parsed("from", MAILBOX, mailbox);
    let to = section.list("to", MAILBOX, mailbox).unwrap_or_default();
    let ca_file = section.parsed("ca-file", "a readable file", |text| context.base.readable(text));
    Some(SmtpTarget {
        host: host?,
        port: port.unwrap_or(default_port),
        security: secured,
        login,
        from: from?,
        to,
        ca_file,
    })
}
