//! Who may ask for what: a web page of somebody else, opened in a browser that reaches this agent, may not.
//!
//! Such a page can give its own name our address (DNS rebinding) and then read what we serve as its own; what gives it
//! away is the name in `Host`. It can also send a request to us without reading the answer; that one has an `Origin`.

use std::net::IpAddr;

use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::{Authority, Scheme};
use http::{Request, StatusCode, Version};

use crate::domain::limits::REPEATED_NAME_CHARS_MAX;

/// The names by which this agent goes.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// In lower case.
    names: Vec<String>,
}

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, String);

/// Who may have been made to ask for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Machines, which call this host whatever they like and have to go on doing so.
    Machines,
    /// A browser, which shows the answer.
    Browsers,
    /// A browser, for what the request does.
    Commands,
}

impl Guard {
    /// Whether a request is let in.
    pub(super) fn admit<B>(&self, reach: Reach, request: &Request<B>) -> Result<(), Refusal> {
        // RFC 9112, section 3.2.
        if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
            return Err((StatusCode::BAD_REQUEST, "HTTP/1.1 has one Host header\n".to_owned()));
        }
        match reach {
            Reach::Machines => Ok(()),
            Reach::Browsers => self.check_host(request),
            Reach::Commands => self.check_host(request).and_then(|()| Self::check_origin(request)),
        }
    }

    /// Lets in requests for names that are configured, and for this host's own name.
    pub fn new(configured: &[String], own: &str) -> Self {
        let own = own.to_ascii_lowercase();
        let short = own.split('.').next().unwrap_or_default();
        let names = configured.iter().map(|name| name.to_ascii_lowercase());
        Self { names: names.chain([format!("{short}.local"), own.clone()]).collect() }
    }

    /// Refuses a name that may be anybody's.
    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let invalid = || (StatusCode::BAD_REQUEST, "the Host header is not a host name\n".to_owned());
        for host in hosts(request) {
            let host = host.ok_or_else(invalid)?;
            let name = host.host().trim_end_matches('.').to_ascii_lowercase();
            if !self.knows(&name) {
                let name: String = name.chars().take(REPEATED_NAME_CHARS_MAX).collect();
                let text = format!(
                    "this agent is not known by the name {name}; add it to allowed-hosts under [web] in \
                     streamgauge.toml, or use its address\n"
                );
                return Err((StatusCode::MISDIRECTED_REQUEST, text));
            }
        }
        Ok(())
    }

    /// Refuses what a page of another site asks for.
    fn check_origin<B>(request: &Request<B>) -> Result<(), Refusal> {
        let refused =
            || (StatusCode::FORBIDDEN, "refused: this request comes from a web page of another site\n".to_owned());
        let sites = request.headers().get_all(HeaderName::from_static("sec-fetch-site"));
        if sites.iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
            return Err(refused());
        }
        let host = hosts(request).next().flatten();
        // Set where this agent speaks TLS. Otherwise a proxy in front of it may.
        let schemes: &[_] = match request.extensions().get::<Scheme>() {
            Some(scheme) if *scheme == Scheme::HTTPS => &["https"],
            _ => &["http", "https"],
        };
        let own = |origin: &str| {
            let (_, authority) = origin.split_once("://").filter(|(scheme, _)| schemes.contains(scheme))?;
            (authority.parse::<Authority>().ok()? == host.clone()?).then_some(())
        };
        let foreign = |origin: &http::HeaderValue| origin.to_str().ok().and_then(own).is_none();
        if request.headers().get_all(ORIGIN).iter().any(foreign) { Err(refused()) } else { Ok(()) }
    }

    /// An address, this machine, a name without a dot (which no zone gives to a stranger), or a name of ours.
    fn knows(&self, name: &str) -> bool {
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || self.names.iter().any(|known| known == name)
    }
}

/// For whom a request is; nothing of one that does not say, which no browser sends. `None`: no host at all.
fn hosts<B>(request: &Request<B>) -> impl Iterator<Item = Option<Authority>> {
    let parsed = |value: &http::HeaderValue| -> Option<Authority> {
        let authority: Authority = value.to_str().ok()?.parse().ok()?;
        (!authority.as_str().contains('@')).then_some(authority)
    };
    let headers = request.headers().get_all(HOST).iter().filter(|value| !value.is_empty()).map(parsed);
    request.uri().authority().cloned().map(Some).into_iter().chain(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request")
    }

    #[test]
    fn a_name_that_may_be_anybodys_is_refused() {
        let guard = Guard::new(&["status.example.org".to_owned()], "db1.example.net");
        for (host, expected) in [
            ("127.0.0.1:10099", Ok(())),
            ("10.0.0.7", Ok(())),
            ("[::1]:10099", Ok(())),
            ("localhost:10099", Ok(())),
            ("app.localhost", Ok(())),
            ("db1:10099", Ok(())),
            ("DB1.example.net.:10099", Ok(())),
            ("db1.local", Ok(())),
            ("Status.Example.org", Ok(())),
            ("", Ok(())),
            ("evil.example.com:10099", Err(StatusCode::MISDIRECTED_REQUEST)),
            ("db1.evil.example.com", Err(StatusCode::MISDIRECTED_REQUEST)),
            ("127.0.0.1.evil.example.com", Err(StatusCode::MISDIRECTED_REQUEST)),
            ("evil.example.com@127.0.0.1", Err(StatusCode::BAD_REQUEST)),
            ("a b", Err(StatusCode::BAD_REQUEST)),
        ] {
            let checked = guard.check_host(&request(&[("host", host)]));
            assert_eq!(checked.map_err(|(status, _)| status), expected, "{host}");
        }
        assert!(guard.check_host(&request(&[])).is_ok(), "HTTP/1.0");
        for (version, hosts, expected) in [
            (Version::HTTP_10, &[][..], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &[("host", "")], true),
            (Version::HTTP_11, &[("host", "localhost"), ("host", "localhost")], false),
            (Version::HTTP_2, &[], true),
        ] {
            let mut request = request(hosts);
            *request.version_mut() = version;
            for reach in [Reach::Machines, Reach::Browsers, Reach::Commands] {
                assert_eq!(guard.admit(reach, &request).is_ok(), expected, "{version:?} {hosts:?}");
            }
        }
        let both = request(&[("host", "localhost"), ("host", "evil.example.com")]);
        let (_, text) = guard.check_host(&both).expect_err("one of them is foreign");
        assert!(text.contains("by the name evil.example.com; add it to allowed-hosts under [web]"), "{text}");
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        for (headers, expected) in [
            (&[("host", "a:1")][..], true),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "a:1"), ("sec-fetch-site", "none")], true),
            (&[("host", "a:1"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "a:1"), ("origin", "http://a:2")], false),
            (&[("host", "a:1"), ("origin", "https://evil.example.com")], false),
            (&[("host", "a:1"), ("origin", "null")], false),
            (&[("host", "a:1"), ("origin", "ftp://a:1")], false),
            (&[("origin", "http://a:1")], false),
        ] {
            assert_eq!(Guard::check_origin(&request(headers)).is_ok(), expected, "{headers:?}");
        }
        for (origin, behind_a_proxy, by_tls) in [("http://a:1", true, false), ("https://a:1", true, true)] {
            let mut request = request(&[("host", "a:1"), ("origin", origin)]);
            assert_eq!(Guard::check_origin(&request).is_ok(), behind_a_proxy, "{origin}");
            request.extensions_mut().insert(Scheme::HTTPS);
            assert_eq!(Guard::check_origin(&request).is_ok(), by_tls, "{origin}");
        }
    }
}
