//! The file itself: every key of the exporter toolkit's format, read strictly, with file and line of each mistake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rustls::SupportedProtocolVersion;
use rustls::version::TLS13;

use super::clients::ClientAuth;
use super::limiter::Limiter;
use super::tls::{self, CURVES, HTTP2_SUITES, Part, SUITES, VERSIONS};
use super::users::Users;
use super::{Policy, Read};
use crate::domain::limits::{CA_FILE_BYTES_MAX, CONFIG_BYTES_MAX};
use crate::infrastructure::config::problem::{Collected, Place, Sink};
use crate::infrastructure::config::source::node::Dialect;
use crate::infrastructure::config::source::text::read_text;
use crate::infrastructure::config::source::yaml;
use crate::infrastructure::config::value::duration;
use crate::infrastructure::config::value::paths::Base;
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::files::Stamp;

/// The headers that may be set, each with its values; none are any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// Reads the file at `path` and those that it names, and says which versions of which files that was, of one with mistakes in
/// it as well.
pub(super) fn read(path: &Path) -> (Vec<Stamp>, Read) {
    let (sink, base) = (Sink::default(), base(path));
    base.depends_on(path);
    let policy = policy(path, &base, &sink);
    let Collected { problems, warnings, .. } = sink.into_parts();
    (base.into_files(), if problems.is_empty() { Ok((policy, warnings)) } else { Err(problems) })
}

/// What the file names is relative to its folder.
fn base(path: &Path) -> Base {
    let folder = path.parent().map(|folder| std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()));
    Base::new(folder.unwrap_or_default(), None)
}

fn policy(path: &Path, base: &Base, sink: &Sink) -> Policy {
    let file: Arc<str> = path.display().to_string().into();
    let text = read_text(path, CONFIG_BYTES_MAX).unwrap_or_else(|message| {
        sink.problem(Place::file(&file).problem(message));
        String::new()
    });
    policy_of(&text, path, base, sink)
}

fn policy_of(text: &str, path: &Path, base: &Base, sink: &Sink) -> Policy {
    let file: Arc<str> = path.display().to_string().into();
    // What Litestream would take with a warning, such as a key that is given twice, is a mistake here.
    let strict = Sink::default();
    let root = yaml::parse(text, &file, &strict);
    let Collected { problems, warnings, .. } = strict.into_parts();
    problems.into_iter().chain(warnings).for_each(|problem| sink.problem(problem));
    let Some(root) = root else { return Policy::default() };
    // Of the two languages it is the strict one.
    let mut root = Section::root(&root, Dialect::Toml, &file, sink);
    let mut http = root.section_or_empty("http_server_config");
    let http2 = http.boolean("http2").unwrap_or(true);
    let headers = headers(http.section_or_empty("headers"));
    drop(http);
    Policy {
        tls: tls(root.section_or_empty("tls_server_config"), http2, base, sink).map(Arc::new),
        headers,
        users: users(root.section_or_empty("basic_auth_users")),
        limiter: limiter(root.section_or_empty("rate_limit")).map(Arc::new),
    }
}

/// Reads any bytes, for the fuzz targets and the property tests.
pub(super) fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let sink = Sink::default();
    let path = Path::new("/nonexistent/streamgauge/web.yml");
    let policy = policy_of(text, path, &base(path), &sink);
    assert!(policy.tls.is_none() || sink.is_clean(), "half a configuration of TLS");
}

/// Something in PEM, and the key that it was given by.
struct Pem {
    key: &'static str,
    /// Empty where it could not be read, which is a problem already.
    text: Vec<u8>,
}

/// What is given as it is or by a file; `None` if neither is.
fn pem(base: &Base, section: &mut Section<'_>, inline: &'static str, by_file: &'static str) -> Option<Pem> {
    section.exclude(inline, by_file);
    let path = section.parsed(by_file, "a path", |text| base.unless_empty(text)).flatten();
    let text = section.secret(inline).map(|text| text.expose().as_bytes().to_vec());
    match (text, path) {
        (Some(text), _) => Some(Pem { key: inline, text }),
        (None, Some(path)) => {
            base.depends_on(&path);
            let text = read_text(&path, CA_FILE_BYTES_MAX).map(String::into_bytes).unwrap_or_else(|message| {
                section.wrong(by_file, format!("{}: {message}", path.display()), "");
                Vec::new()
            });
            Some(Pem { key: by_file, text })
        }
        (None, None) => None,
    }
}

/// `None` where TLS is off, and where something is wrong with it.
fn tls(mut section: Section<'_>, http2: bool, base: &Base, sink: &Sink) -> Option<rustls::ServerConfig> {
    let certificate = pem(base, &mut section, "cert", "cert_file");
    let key = pem(base, &mut section, "key", "key_file");
    let authorities = pem(base, &mut section, "client_ca", "client_ca_file");
    let client_auth = section.choice("client_auth_type", ClientAuth::WORDS.into_iter());
    let any = |text: &str| Ok::<_, String>(text.to_owned());
    let client_names = section.list("client_allowed_sans", "alternative names of a certificate", any);
    let (versions, only_13) = versions(&mut section);
    // Those of TLS 1.3 are there in any case.
    let suites = known(&mut section, "cipher_suites", &SUITES, versions.contains(&&TLS13));
    let curves = known(&mut section, "curve_preferences", &CURVES, false);
    let prefer_own_suites = section.boolean("prefer_server_cipher_suites").unwrap_or(true);
    if certificate.is_none() && key.is_none() && authorities.is_none() && client_auth.is_none() {
        return None;
    }
    if http2 && !only_13 {
        demand_http2_suite(&mut section);
    }
    let client_auth = client_auth.unwrap_or(ClientAuth::Nothing);
    if client_auth == ClientAuth::Nothing {
        let names = client_names.as_ref().map(|_| "client_allowed_sans");
        for key in authorities.iter().map(|pem| pem.key).chain(names) {
            section.wrong(key, "without a client_auth_type", "client_auth_type: RequireAndVerifyClientCert");
        }
    }
    for (pem, missing) in [(&certificate, "missing one of cert or cert_file"), (&key, "missing one of key or key_file")]
    {
        if pem.is_none() {
            section.fault(missing, "");
        }
    }
    let (certificate, key) = certificate.zip(key).filter(|_| sink.is_clean())?;
    let place = |part| match part {
        Part::Certificate | Part::Whole => certificate.key,
        Part::Key => key.key,
        Part::Authorities => authorities.as_ref().map_or("client_auth_type", |pem| pem.key),
    };
    let settings = tls::Settings {
        certificate: &certificate.text,
        key: &key.text,
        authorities: authorities.as_ref().map(|pem| &*pem.text),
        client_auth,
        client_names: client_names.unwrap_or_default(),
        versions,
        suites,
        curves,
        prefer_own_suites,
        http2,
    };
    tls::config(settings).map_err(|(part, message)| section.wrong(place(part), message, "")).ok()
}

/// Where suites are named and HTTP/2 is spoken by TLS 1.2, the one that it demands is among them.
fn demand_http2_suite(section: &mut Section<'_>) {
    let named = section.texts("cipher_suites", "").unwrap_or_default();
    if !named.is_empty() && !named.iter().any(|suite| HTTP2_SUITES.contains(&suite.text)) {
        let accepted = format!("one of {}; http2: false; or min_version: TLS13", HTTP2_SUITES.join(", "));
        section.wrong("cipher_suites", "without one that HTTP/2 requires", &accepted);
    }
}

/// The versions that are spoken, and whether that is TLS 1.3 alone.
fn versions(section: &mut Section<'_>) -> (Vec<&'static SupportedProtocolVersion>, bool) {
    let places = || VERSIONS.iter().enumerate().map(|(place, (word, _))| (*word, place));
    let least = section.choice("min_version", places()).unwrap_or(2);
    let most = section.choice("max_version", places()).unwrap_or(3);
    let range = VERSIONS.get(least..=most).unwrap_or_default();
    let spoken: Vec<_> = range.iter().filter_map(|(_, version)| *version).collect();
    if spoken.is_empty() {
        section.wrong("max_version", "no version is left", "TLS12 or TLS13, and not below min_version");
    } else if range.len() > spoken.len() {
        section.warn("min_version", "TLS 1.0 and 1.1 are not supported", "");
    }
    (spoken, least == 3)
}

/// The things that Go's names stand for. Those that are not there are left out with a warning, which is a problem where
/// none is left and there are no `others`; `None` are all.
fn known<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    table: &[(&str, Option<T>)],
    others: bool,
) -> Option<Vec<T>> {
    let accepted = table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let meant = |text: &str| table.iter().find(|(name, _)| *name == text).map(|(_, thing)| *thing).ok_or("unknown");
    let named = section.list(key, &accepted, meant)?;
    let there: Vec<T> = named.iter().copied().flatten().collect();
    if there.is_empty() && !named.is_empty() && !others {
        let usable: Vec<&str> = table.iter().filter(|(_, thing)| thing.is_some()).map(|(name, _)| *name).collect();
        section.wrong(key, "none of these is supported here", &usable.join(", "));
    } else if there.len() < named.len() {
        section.warn(key, "some of these are not supported here and are left out: CBC suites, CurveP521", "");
    }
    (!named.is_empty()).then_some(there)
}

fn headers(mut section: Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in section.pairs("a string") {
        let known = HEADERS.iter().find(|(known, _)| *known == name);
        let Some((_, values)) = known else {
            let accepted = HEADERS.map(|(name, _)| name).join(", ");
            section.problem(value.place.problem("this header cannot be configured").accepted(accepted));
            continue;
        };
        let read = (HeaderName::try_from(name), HeaderValue::try_from(value.text));
        match read {
            (Ok(name), Ok(text)) if values.is_empty() || values.contains(&value.text) => headers.push((name, text)),
            _ => {
                let accepted = if values.is_empty() { "a line of text".to_owned() } else { values.join(", ") };
                section.problem(value.place.problem("invalid value").value(value.text).accepted(accepted));
            }
        }
    }
    headers
}

fn users(mut section: Section<'_>) -> Users {
    let mut users = std::collections::BTreeMap::new();
    for (name, hash) in section.pairs("a bcrypt hash, as htpasswd -nBC 10 makes it") {
        // The hash is a secret of a kind, and not shown.
        match hash.text.parse::<bcrypt::HashParts>() {
            Ok(_) => {
                users.insert(name.to_owned(), hash.text.to_owned());
            }
            Err(_) => {
                let accepted = "a bcrypt hash, as htpasswd -nBC 10 makes it";
                section.problem(hash.place.problem("not a bcrypt hash").accepted(accepted));
            }
        }
    }
    Users::new(users)
}

fn limiter(mut section: Section<'_>) -> Option<Limiter> {
    let interval = section.parsed("interval", duration::ACCEPTED, duration::parse).unwrap_or(Duration::ZERO);
    let burst = section.integer("burst", 0..=u32::MAX).unwrap_or(0);
    Limiter::new(interval, burst)
}
