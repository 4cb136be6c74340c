//! S3 locations: which bucket, endpoint, region and addressing Litestream makes of a URL's host and parameters.

use std::net::Ipv4Addr;

use super::keys::Keys;
use crate::domain::target::{S3Location, authority};
use crate::infrastructure::config::value::url::Url;

/// The parts of a URL's host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) endpoint: String,
    pub(crate) path_style: bool,
}

impl Host {
    fn new(bucket: &str, region: &str, endpoint: &str, path_style: bool) -> Self {
        Self { bucket: bucket.to_owned(), region: region.to_owned(), endpoint: endpoint.to_owned(), path_style }
    }
}

/// The host of an `s3://` URL as Litestream v0.5 takes it apart.
pub(crate) fn host(host: &str) -> Host {
    if host.contains(':') && !host.contains(".com") {
        return match host.split_once('.') {
            Some((bucket, rest)) => Host::new(bucket, "us-east-1", &format!("http://{rest}"), true),
            None => Host::new("", "", &format!("http://{host}"), true),
        };
    }
    if let Some(name) = host.strip_suffix(".amazonaws.com") {
        if let Some(bucket) = name.strip_suffix(".s3") {
            return Host::new(bucket, "", "", false);
        }
        if let Some((rest, region)) = name.rsplit_once('.')
            && let Some(bucket) = rest.strip_suffix(".s3")
        {
            return Host::new(bucket, region, "", false);
        }
    }
    if let Some((bucket, region, server)) = provider(host) {
        return Host::new(bucket, region, &format!("https://{server}"), server.ends_with(".backblazeb2.com"));
    }
    Host::new(host, "", "", false)
}

/// The host of an `s3://` URL as Litestream v0.3 takes it apart: path style for every provider, no Amazon hosts.
pub(crate) fn host_v03(text: &str) -> Host {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, format!(":{port}")),
        _ => (text, String::new()),
    };
    let https = |bucket: &str, region: &str, endpoint: &str| {
        Host::new(bucket, region, &format!("https://{endpoint}{port}"), true)
    };
    if let Some(bucket) = below(name, "localhost") {
        return Host::new(bucket, "us-east-1", &format!("http://localhost{port}"), true);
    }
    if let Some((bucket, region, server)) = provider(name) {
        return https(bucket, region, &server);
    }
    if let Some(name) = name.strip_suffix(".linodeobjects.com") {
        let (bucket, region) = last_label(name);
        return https(bucket, region, &format!("{region}.linodeobjects.com"));
    }
    Host::new(name, "", "", false)
}

/// Bucket, region and server where a host is that of a provider which both versions know.
fn provider(host: &str) -> Option<(&str, &str, String)> {
    if let Some(name) = host.strip_suffix(".digitaloceanspaces.com") {
        let (bucket, region) = last_label(name);
        return Some((bucket, region, format!("{region}.digitaloceanspaces.com")));
    }
    for domain in ["backblazeb2.com", "scw.cloud"] {
        if let Some((bucket, region)) = below(host, domain).and_then(below_s3) {
            return Some((bucket, region, format!("s3.{region}.{domain}")));
        }
    }
    below(host, "s3.filebase.com").map(|bucket| (bucket, "", "s3.filebase.com".to_owned()))
}

/// `B` of `B.domain`, or nothing of `domain`.
fn below<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    match host.strip_suffix(domain)? {
        "" => Some(""),
        name => name.strip_suffix('.'),
    }
}

/// `(B, R)` of `B.R`.
fn last_label(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// `(B, R)` of `B.s3.R`.
fn below_s3(name: &str) -> Option<(&str, &str)> {
    let (rest, region) = name.rsplit_once('.')?;
    Some((below(rest, "s3")?, region))
}

/// What [`is_address`] accepts.
pub(crate) const ADDRESS: &str = "https://host, host:port and the like, optionally with a path";

/// The address of a server: scheme, host and port, and perhaps a path. Anything else may be a secret in the wrong place,
/// and an endpoint is shown.
pub(crate) fn is_address(endpoint: &str) -> bool {
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, endpoint),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host.parse::<std::net::Ipv6Addr>().is_ok().then_some("localhost"), port),
        None => {
            let (host, port) = authority.split_at(authority.rfind(':').unwrap_or(authority.len()));
            (Some(host), port)
        }
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let host = host.map(|host| host.trim_end_matches('.')).filter(|host| host.split('.').all(label));
    let Some(host) = host.filter(|host| !is_number(last_label(host).1) || host.parse::<Ipv4Addr>().is_ok()) else {
        return false;
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let port_is_one = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~%".contains(&byte));
    let named = scheme.is_some() || host.contains('.') || host == "localhost" || !port.is_empty();
    matches!(scheme, None | Some("http" | "https")) && port_is_one && plain && named
}

/// A host that ends so is an address of IPv4, if anything: no parser of URLs takes it for a name.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    let is_digit = |byte: u8| if hex.is_some() { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    hex.unwrap_or(label).bytes().all(is_digit)
}

/// Where Litestream keeps the replica. Keys, and `path` among them, win over the URL; what a provider demands applies
/// unless `force-path-style` is written.
pub(crate) fn location(keys: &Keys, path: String, url: Option<&Url>, v03: bool) -> Option<S3Location> {
    let mut location = S3Location {
        bucket: keys.bucket.clone(),
        path,
        skip_verify: keys.skip_verify,
        // An endpoint means that it is not Amazon's.
        force_path_style: keys.force_path_style.unwrap_or(!keys.endpoint.is_empty()),
        ..S3Location::default()
    };
    let (mut region, mut endpoint) = (keys.region.clone(), with_https(&keys.endpoint));
    if let Some(url) = url {
        let mut from_url = match (&url.host, v03) {
            (arn, _) if arn.starts_with("arn:") => Host::new(arn, arn.split(':').nth(3).unwrap_or(""), "", false),
            (name, true) => host_v03(name),
            (name, false) => host(name),
        };
        if !v03 {
            parameters(url, &mut from_url, &mut location.skip_verify);
        }
        location.path = if location.path.is_empty() { url.bucket_path() } else { location.path };
        location.bucket = if location.bucket.is_empty() { from_url.bucket } else { location.bucket };
        region = if region.is_empty() { from_url.region } else { region };
        endpoint = if endpoint.is_empty() { with_https(&from_url.endpoint) } else { endpoint };
        location.force_path_style |= from_url.path_style;
    }
    if !v03 && keys.force_path_style.is_none() && wants_path_style(&endpoint) {
        location.force_path_style = true;
    }
    location.region = Some(region).filter(|region| !region.is_empty());
    location.endpoint = Some(endpoint).filter(|endpoint| !endpoint.is_empty());
    (!location.bucket.is_empty()).then_some(location)
}

/// The query parameters of v0.5 that matter for reading.
fn parameters(url: &Url, host: &mut Host, skip_verify: &mut bool) {
    let path_style = url.query("forcePathStyle");
    if let Some(endpoint) = url.query("endpoint") {
        let scheme = if is_local(&endpoint) { "http://" } else { "https://" };
        host.endpoint = if has_scheme(&endpoint) { endpoint } else { format!("{scheme}{endpoint}") };
        host.path_style |= path_style.as_deref() != Some("false");
    }
    if let Some(region) = url.query("region") {
        host.region = region;
    }
    if let Some(path_style) = path_style {
        host.path_style = path_style == "true";
    }
    if let Some(skip) = url.query("skipVerify") {
        *skip_verify = skip == "true";
    }
}

fn has_scheme(endpoint: &str) -> bool {
    endpoint.starts_with("http://") || endpoint.starts_with("https://")
}

pub(crate) fn with_https(endpoint: &str) -> String {
    if endpoint.is_empty() || has_scheme(endpoint) { endpoint.to_owned() } else { format!("https://{endpoint}") }
}

/// Litestream's idea of an endpoint that speaks plain HTTP. Its `172.2` also takes in 172.200.0.0 and the like.
fn is_local(endpoint: &str) -> bool {
    const PREFIXES: &[&str] =
        &["192.168.", "10.", "172.16.", "172.17.", "172.18.", "172.19.", "172.2", "172.30.", "172.31."];
    let endpoint = endpoint.trim().to_lowercase();
    let host = endpoint.rsplit_once(':').map_or(endpoint.as_str(), |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1")
        || PREFIXES.iter().any(|prefix| host.starts_with(prefix))
        || host.ends_with(".local")
        || host.ends_with(".localhost")
}

/// Filebase, Backblaze, Supabase, and anything with a port that is no known provider ("MinIO").
fn wants_path_style(endpoint: &str) -> bool {
    const PROVIDERS: &[&str] = &[
        ".amazonaws.com",
        ".digitaloceanspaces.com",
        ".backblazeb2.com",
        ".filebase.com",
        ".scw.cloud",
        ".r2.cloudflarestorage.com",
        "tigris.dev",
        "t3.storage.dev",
        ".supabase.co",
    ];
    let host = authority(endpoint).to_lowercase();
    host == "s3.filebase.com"
        || host.ends_with(".backblazeb2.com")
        || host.ends_with(".supabase.co")
        || (host.contains(':') && !PROVIDERS.iter().any(|provider| host.contains(provider)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `bucket path region endpoint style` of what Litestream makes of a URL.
    fn show(text: &str, keys: &Keys, v03: bool) -> String {
        let url = Url::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        match location(keys, keys.path.clone(), Some(&url), v03) {
            None => "no bucket".to_owned(),
            Some(s3) => format!(
                "{} {} {} {} {}{}",
                s3.bucket,
                s3.path,
                s3.region.as_deref().unwrap_or("-"),
                s3.endpoint.as_deref().unwrap_or("-"),
                if s3.force_path_style { "path" } else { "host" },
                if s3.skip_verify { " unverified" } else { "" }
            ),
        }
    }

    #[test]
    fn hosts_of_v05() {
        for (url, expected) in [
            ("s3://bkt", "bkt . - - host"),
            ("s3://bkt/p", "bkt p - - host"),
            ("s3://my.bkt/p", "my.bkt p - - host"),
            ("s3://bkt.minio.lan:9000/p", "bkt p us-east-1 http://minio.lan:9000 path"),
            ("s3://localhost:9000/p", "no bucket"),
            ("s3://bkt.s3.amazonaws.com/p", "bkt p - - host"),
            ("s3://my.bkt.s3.eu-west-1.amazonaws.com/p", "my.bkt p eu-west-1 - host"),
            ("s3://bkt.fra1.digitaloceanspaces.com/p", "bkt p fra1 https://fra1.digitaloceanspaces.com host"),
            (
                "s3://bkt.s3.us-west-002.backblazeb2.com/p",
                "bkt p us-west-002 https://s3.us-west-002.backblazeb2.com path",
            ),
            ("s3://bkt.s3.filebase.com/p", "bkt p - https://s3.filebase.com path"),
            ("s3://bkt.s3.fr-par.scw.cloud/p", "bkt p fr-par https://s3.fr-par.scw.cloud host"),
            ("s3://bkt.nyc.linodeobjects.com/p", "bkt.nyc.linodeobjects.com p - - host"),
            ("s3://arn:aws:s3:eu-west-1:1:accesspoint/n/p", "arn:aws:s3:eu-west-1:1:accesspoint/n p eu-west-1 - host"),
        ] {
            assert_eq!(show(url, &Keys::default(), false), expected, "{url}");
        }
    }

    #[test]
    fn hosts_of_v03() {
        for (url, expected) in [
            ("s3://bkt", "bkt . - - host"),
            ("s3://bkt.localhost:9000/p", "bkt p us-east-1 http://localhost:9000 path"),
            ("s3://bkt.fra1.digitaloceanspaces.com/p", "bkt p fra1 https://fra1.digitaloceanspaces.com path"),
            (
                "s3://bkt.s3.us-west-002.backblazeb2.com/p",
                "bkt p us-west-002 https://s3.us-west-002.backblazeb2.com path",
            ),
            ("s3://bkt.s3.filebase.com/p", "bkt p - https://s3.filebase.com path"),
            ("s3://bkt.s3.fr-par.scw.cloud/p", "bkt p fr-par https://s3.fr-par.scw.cloud path"),
            ("s3://bkt.nyc.linodeobjects.com:8080/p", "bkt p nyc https://nyc.linodeobjects.com:8080 path"),
            ("s3://bkt.s3.amazonaws.com/p", "bkt.s3.amazonaws.com p - - host"),
            ("s3://bkt/p?region=eu-west-1", "bkt p - - host"),
        ] {
            assert_eq!(show(url, &Keys::default(), true), expected, "{url}");
        }
    }

    #[test]
    fn parameters_of_v05() {
        for (url, expected) in [
            ("s3://b?endpoint=localhost:9000&region=r", "b . r http://localhost:9000 path"),
            ("s3://b?endpoint=172.20.0.2:9000", "b . - http://172.20.0.2:9000 path"),
            ("s3://b?endpoint=172.200.0.2", "b . - http://172.200.0.2 path"),
            ("s3://b?endpoint=172.32.0.2", "b . - https://172.32.0.2 path"),
            ("s3://b?endpoint=minio.example.org", "b . - https://minio.example.org path"),
            ("s3://b?endpoint=http://x.example.org&forcePathStyle=false", "b . - http://x.example.org host"),
            // A port makes it a MinIO for Litestream, and only the key, not the parameter, can say otherwise.
            ("s3://b?endpoint=http://x:1&forcePathStyle=false", "b . - http://x:1 path"),
            ("s3://b?skipVerify=true&forcePathStyle=true", "b . - - path unverified"),
        ] {
            assert_eq!(show(url, &Keys::default(), false), expected, "{url}");
        }
    }

    #[test]
    fn an_address_has_a_host() {
        for address in [
            "https://s3.example.org",
            "https://x.supabase.co/storage/v1/s3",
            "http://minio",
            "minio:9000",
            "localhost",
            "10.0.0.1",
            "[::1]:9000",
            "10.0.0.1.:9000",
            "https://1.example.0xyz",
            "http://my_minio:9000/",
        ] {
            assert!(is_address(address), "{address}");
        }
        for secret in [
            "geheim",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "https://me:geheim@host",
            "https://host?key=geheim",
            "https://host#geheim",
            "ftp://host",
            "host:geheim",
            "https://",
            "two words.org",
            "http://10.0.0.256",
            "https://minio.0x1g.0x1",
            "host.1:9000",
            "minio:+9000",
            "gehe+im.org",
        ] {
            assert!(!is_address(secret), "{secret}");
        }
    }

    #[test]
    fn keys_win_over_the_url() {
        let keys = Keys {
            region: "k".to_owned(),
            endpoint: "minio.lan:9000".to_owned(),
            force_path_style: Some(false),
            ..Keys::default()
        };
        assert_eq!(show("s3://b/p?region=u", &keys, false), "b p k https://minio.lan:9000 host");
        assert_eq!(show("s3://b.h:1/p", &keys, false), "b p k https://minio.lan:9000 path");
        let bucket = Keys { bucket: "b".to_owned(), ..Keys::default() };
        let without_path = location(&bucket, String::new(), None, false).expect("a bucket");
        assert_eq!((without_path.path.as_str(), without_path.force_path_style), ("", false));
        let raw = location(&bucket, "/a//b/".to_owned(), None, false).expect("a bucket");
        assert_eq!(raw.path, "/a//b/");
    }
}
