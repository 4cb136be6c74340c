//! Replica URLs, split the way Go's `net/url` splits them, because that decides where Litestream writes.

use percent_encoding::AsciiSet;

use crate::domain::secret::Secret;
use crate::infrastructure::percent;

/// The parts of a URL. Credentials may be in `userinfo` and `query`: there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// In lower case.
    pub(crate) scheme: String,
    /// As written, still escaped.
    pub(crate) userinfo: Option<String>,
    pub(crate) host: String,
    /// As written, still escaped.
    pub(crate) raw_path: String,
    /// With percent escapes decoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) fragment: Option<String>,
}

/// Whether Litestream takes a text for a URL (`^\w+://`).
pub(crate) fn is_url(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()))
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err("a control character in a URL");
        }
        let (scheme, rest) = text.split_once("://").ok_or("not a URL")?;
        let mut letters = scheme.bytes();
        let starts = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if !starts || !letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            return Err("a URL without a scheme");
        }
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "s3" && rest.to_ascii_lowercase().starts_with("arn:") {
            return Self::access_point(rest);
        }
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment.to_owned())),
            None => (rest, None),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, raw_path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo.to_owned()), host),
            None => (None, authority),
        };
        check_host(host)?;
        Ok(Self {
            scheme,
            userinfo,
            host: host.to_owned(),
            path: unescape(raw_path, false)?,
            raw_path: raw_path.to_owned(),
            query: query.to_owned(),
            fragment,
        })
    }

    /// `s3://arn:aws:s3:region:account:accesspoint/name/path`: the bucket is the ARN up to the access point's name.
    fn access_point(rest: &str) -> Result<Self, &'static str> {
        const MARKER: &str = ":accesspoint/";
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let marker = rest.to_ascii_lowercase().find(MARKER).ok_or("an ARN without an access point")?;
        let name = marker + MARKER.len();
        if name >= rest.len() {
            return Err("an ARN without an access point");
        }
        let end = rest[name..].find('/').map_or(rest.len(), |slash| name + slash);
        let key = rest[end..].trim_start_matches('/');
        // Unlike any other S3 URL, one without a path has the path "" and not ".".
        let path = if key.is_empty() { String::new() } else { clean(&format!("/{key}"))[1..].to_owned() };
        Ok(Self {
            scheme: "s3".to_owned(),
            userinfo: None,
            host: rest[..end].to_owned(),
            raw_path: path.clone(),
            path,
            query: query.to_owned(),
            fragment: None,
        })
    }

    /// The path below the bucket as Litestream v0.5 makes it: cleaned, without one leading slash. An absent path is `.`.
    pub(crate) fn bucket_path(&self) -> String {
        if self.host.starts_with("arn:") {
            return self.path.clone();
        }
        let cleaned = clean(&self.path);
        cleaned.strip_prefix('/').map(str::to_owned).unwrap_or(cleaned)
    }

    /// The directory of a `file://` URL: the host is part of the path and escapes stay, as Litestream has it.
    pub(crate) fn directory(&self) -> String {
        let mut path = String::new();
        if self.userinfo.is_some() || !self.host.is_empty() {
            path.push_str("//");
            if let Some(userinfo) = &self.userinfo {
                path.push_str(userinfo);
                path.push('@');
            }
            path.push_str(&self.host);
        }
        path.push_str(&self.raw_path);
        if let Some(fragment) = &self.fragment {
            path.push('#');
            path.push_str(fragment);
        }
        clean(&path)
    }

    /// Adds the relative path of a database below a `dir` entry.
    pub(crate) fn join(&mut self, relative: &str) {
        let joined =
            if self.path.is_empty() { relative.to_owned() } else { clean(&format!("{}/{relative}", self.path)) };
        self.path = format!("/{}", joined.trim_start_matches('/'));
        self.raw_path = escape(&self.path);
        if self.host.starts_with("arn:") {
            self.path.remove(0);
        }
    }

    /// The user of `scheme://user:password@host`.
    pub(crate) fn user(&self) -> Option<String> {
        let userinfo = self.userinfo.as_deref()?;
        let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
        unescape(user, false).ok().filter(|user| !user.is_empty())
    }

    /// The password of `scheme://user:password@host`.
    pub(crate) fn password(&self) -> Option<Secret> {
        let (_, password) = self.userinfo.as_deref()?.split_once(':')?;
        unescape(password, false).ok().filter(|password| !password.is_empty()).map(Secret::new)
    }

    /// The first value of a query parameter that is not empty.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| unescape(value, true).ok())
            .filter(|value| !value.is_empty())
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.bytes().any(|byte| matches!(byte, b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')) {
        return Err("an invalid character in the host name");
    }
    let port = if host.starts_with('[') {
        let (_, behind) = host.split_once(']').ok_or("no ] in the host name")?;
        behind
    } else {
        host.rfind(':').map_or("", |colon| &host[colon..])
    };
    match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
        None if port.is_empty() => Ok(()),
        _ => Err("an invalid port"),
    }
}

/// Decodes percent escapes; `+` is a space in a query.
fn unescape(text: &str, query: bool) -> Result<String, &'static str> {
    let (bytes, good) = if query { percent::decoded(&text.replace('+', " ")) } else { percent::decoded(text) };
    if !good {
        return Err("a bad percent escape");
    }
    String::from_utf8(bytes).map_err(|_| "a percent escape that is not UTF-8")
}

/// What Go escapes in a path.
const PATH: &AsciiSet = &percent::PATH
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

fn escape(path: &str) -> String {
    percent::encoded(path.as_bytes(), PATH)
}

/// Go's `path.Clean`: no doubled slashes, no `.` and `..`, no trailing slash; nothing left is `.`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The parts of a URL that were understood: scheme, host and path. `None` if the text is not a URL.
pub(crate) fn understood(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let word = scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (word && !scheme.is_empty()).then(|| redact(text))
}

/// A URL without its user information and query; any other text as it is.
pub(crate) fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest[..end].split_at(rest[..end].find('/').unwrap_or(end));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // A password may hold any of the characters that end it in a proper URL.
    if path.contains('@') || rest[end..].contains('@') || check_host(host).is_err() {
        return format!("{scheme}://…");
    }
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn bucket_paths_are_litestreams() {
        for (text, host, path) in [
            ("s3://bkt", "bkt", "."),
            ("s3://bkt/", "bkt", ""),
            ("s3://bkt/a/b/", "bkt", "a/b"),
            ("s3://bkt//x/../y/", "bkt", "y"),
            ("s3://bkt/a%20b?region=x", "bkt", "a b"),
            ("s3://u:p@bkt.localhost:9000/a", "bkt.localhost:9000", "a"),
            ("S3://bkt/a", "bkt", "a"),
            ("s3://arn:aws:s3:eu-west-1:1:accesspoint/n/a//b/", "arn:aws:s3:eu-west-1:1:accesspoint/n", "a/b"),
            ("s3://arn:aws:s3:eu-west-1:1:accesspoint/n", "arn:aws:s3:eu-west-1:1:accesspoint/n", ""),
        ] {
            let url = url(text);
            assert_eq!((url.host.as_str(), url.bucket_path().as_str()), (host, path), "{text}");
        }
    }

    #[test]
    fn directories_are_litestreams() {
        for (text, expected) in [
            ("file:///abs/dir", "/abs/dir"),
            ("file:///abs//dir/../x/?a=b", "/abs/x"),
            ("file://rel/x", "/rel/x"),
            ("file:///a%20b", "/a%20b"),
            ("file://", "."),
        ] {
            assert_eq!(url(text).directory(), expected, "{text}");
        }
    }

    #[test]
    fn joins_a_relative_path() {
        for (text, expected) in [
            ("s3://bkt", "sub/a b.db"),
            ("s3://bkt/base/", "base/sub/a b.db"),
            ("s3://arn:aws:s3:r:1:accesspoint/n", "sub/a b.db"),
        ] {
            let mut url = url(text);
            url.join("sub/a b.db");
            assert_eq!(url.bucket_path(), expected, "{text}");
        }
        let mut url = url("file:///base");
        url.join("sub/a b.db");
        assert_eq!(url.directory(), "/base/sub/a%20b.db");
    }

    #[test]
    fn reads_users_and_parameters() {
        let url = url("sftp://u%40x:p%2Fw@h:22/p?endpoint=http%3A%2F%2Fa&region=&x=a+b");
        assert_eq!(url.user().as_deref(), Some("u@x"));
        assert_eq!(url.query("endpoint").as_deref(), Some("http://a"));
        assert_eq!(url.query("region"), None);
        assert_eq!(url.query("x").as_deref(), Some("a b"));
        assert_eq!(url.password(), Some(Secret::new("p/w")));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            ("bkt/path", "not a URL"),
            ("1s3://bkt", "a URL without a scheme"),
            ("s3://b kt/x", "an invalid character in the host name"),
            ("s3://bkt:port/x", "an invalid port"),
            ("s3://bkt/%zz", "a bad percent escape"),
            ("s3://bkt/%+1", "a bad percent escape"),
            ("s3://bkt/\n", "a control character in a URL"),
            ("s3://arn:aws:s3:r:1:bucket/n", "an ARN without an access point"),
        ] {
            assert_eq!(Url::parse(text).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn credentials_are_cut_out() {
        for (text, expected) in [
            ("plain", "plain"),
            ("s3://id:key@bkt/path?secret=x", "s3://bkt/path"),
            ("sftp://u:a/b@c@host/p", "sftp://…"),
            ("sftp://u:a?b@host/p", "sftp://…"),
            ("sftp://u:12/b@host/p", "sftp://…"),
            ("s3://a b/c", "s3://…"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn nothing_is_shown_of_what_is_no_url() {
        assert_eq!(understood("geheim"), None);
        assert_eq!(understood("/mnt/backup"), None);
        assert_eq!(understood("geheim geheim://x"), None);
        assert_eq!(understood("ftp://host/b").as_deref(), Some("ftp://host/b"));
    }

    #[test]
    fn cleans_as_go_does() {
        for (path, expected) in
            [("", "."), ("/", "/"), ("//a//b/./c/..", "/a/b"), ("/../a", "/a"), ("../a/../..", "../.."), ("a/..", ".")]
        {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(s3|file|sftp)://\\PC{0,40}") {
            if let Ok(mut url) = Url::parse(&text) {
                let _ = (url.bucket_path(), url.directory(), url.user(), url.query("a"));
                url.join("x/y");
            }
            let _ = redact(&text);
        }

        #[test]
        fn cleaning_twice_changes_nothing(path in "[/.a]{0,20}") {
            prop_assert_eq!(clean(&clean(&path)), clean(&path));
        }
    }
}
