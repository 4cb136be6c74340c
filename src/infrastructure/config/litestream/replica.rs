//! The place that follows from the keys of one replica, as Litestream would use it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::{Fault, Keys};
use super::{remote, s3};
use crate::domain::limits::SSE_KEY_FILE_BYTES_MAX;
use crate::domain::litestream::expiry::Written;
use crate::domain::secret::Secret;
use crate::domain::target::{ReplicaLocation, ReplicaTarget, S3Location, StaticCredentials};
use crate::infrastructure::config::source::text::read_text;
use crate::infrastructure::config::value::paths::{Base, PathMapping, map_path};
use crate::infrastructure::config::value::url::{Url, clean, is_url};

/// The circumstances that a replica's place depends on besides its keys.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) base: &'a Base,
    pub(crate) path_map: &'a [PathMapping],
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) v03: bool,
    /// Meant are the replicas below the place.
    pub(crate) below: bool,
}

/// The replica that Litestream would use, for the database at `relative` below a `dir`.
pub(crate) fn target(keys: &Keys, relative: Option<&str>, context: &Context<'_>) -> Result<ReplicaTarget, Fault> {
    let kind = keys.kind()?;
    if is_url(&keys.path) {
        return Err(keys.fault("path", "a URL, which belongs in `url`", &keys.path, ""));
    }
    let wrong = |message| keys.fault("url", message, &keys.url, "s3://bucket/path and the like");
    let mut url = if keys.url.is_empty() { None } else { Some(Url::parse(&keys.url).map_err(wrong)?) };
    for (key, value) in [("path", &keys.path), ("bucket", &keys.bucket), ("host", &keys.host)] {
        let concerns = match key {
            "path" => kind != "nats",
            "bucket" => matches!(kind.as_str(), "s3" | "gs" | "abs" | "oss"),
            _ => kind == "sftp",
        };
        if url.is_some() && concerns && !value.is_empty() {
            return Err(keys.fault("url", format!("both `url` and `{key}` are set"), &keys.url, "one of the two"));
        }
    }
    let mut path = keys.path.clone();
    if let Some(relative) = relative {
        match &mut url {
            Some(url) => url.join(relative),
            None if path.is_empty() => relative.clone_into(&mut path),
            None => path = clean(&format!("{path}/{relative}")),
        }
    }
    let location = match kind.as_str() {
        "file" => directory(keys, &path, url.as_ref(), context)?,
        "s3" => bucket(keys, path, url.as_ref(), context)?,
        kind => remote::location(kind, keys, &path, url.as_ref(), context)?,
    };
    let in_url = |name| url.as_ref().filter(|_| !context.v03).and_then(|url| url.query(name));
    let in_url = || in_url("storage-class").or_else(|| in_url("storageClass")).unwrap_or_default();
    let class = if keys.storage_class.is_empty() { in_url() } else { keys.storage_class.clone() };
    Ok(ReplicaTarget {
        name: if keys.name.is_empty() { location.kind().as_str().to_owned() } else { keys.name.clone() },
        location,
        sync_interval: keys.sync_interval.unwrap_or(Duration::from_secs(1)),
        encrypted: keys.age && context.v03,
        age_identities: if context.v03 { keys.age_identities.clone() } else { Vec::new() },
        kept: context.v03.then(|| keys.kept()),
        written: Written { class: Some(class).filter(|class| !class.is_empty()), ..Written::default() },
    })
}

fn directory(keys: &Keys, path: &str, url: Option<&Url>, context: &Context<'_>) -> Result<ReplicaLocation, Fault> {
    if url.is_some_and(|url| url.userinfo.is_some()) {
        // Litestream makes a directory of that name, and all would show the password as a part of the path.
        return Err(keys.fault("url", "a user in the URL of a directory", "", "file:///directory"));
    }
    let path = url.map_or_else(|| path.to_owned(), Url::directory);
    if path.is_empty() {
        return Err(keys.fault("path", "missing; a replica of kind file needs it", "", "a directory"));
    }
    let path = context.base.litestream(&path).map_err(|message| keys.fault("path", message, &path, ""))?;
    Ok(ReplicaLocation::Directory(map_path(context.path_map, &path)))
}

fn bucket(keys: &Keys, path: String, url: Option<&Url>, context: &Context<'_>) -> Result<ReplicaLocation, Fault> {
    let named = |message| keys.fault("bucket", message, "", "a bucket's name");
    let location = s3::location(keys, path, url, context.v03);
    let location = location.ok_or_else(|| named("missing; a replica of kind s3 needs it"))?;
    let written = match keys.endpoint.as_str() {
        "" if context.v03 => None,
        "" => url.and_then(|url| url.query("endpoint")),
        endpoint => Some(endpoint.to_owned()),
    };
    if written.or_else(|| location.endpoint.clone()).is_some_and(|endpoint| !s3::is_address(&endpoint)) {
        let key = if keys.endpoint.is_empty() { "url" } else { "endpoint" };
        return Err(keys.fault(key, "the endpoint is not the address of a server", "", s3::ADDRESS));
    }
    if location.bucket.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') || is_url(&location.bucket) {
        return Err(named("not a bucket's name"));
    }
    let sse_customer_key = match (&keys.sse_customer_key, keys.sse_customer_key_path.as_str()) {
        (None, "") => None,
        (Some(key), _) => Some(key.clone()),
        (None, path) => {
            Some(read_key(path, context).map_err(|message| keys.fault("sse-customer-key-path", message, path, ""))?)
        }
    };
    let credentials = match &keys.secret_access_key {
        _ if keys.profile.is_some() => None,
        Some(secret) if !keys.access_key_id.is_empty() => Some(StaticCredentials {
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: secret.clone(),
            session_token: keys.session_token.clone(),
        }),
        _ => environment_credentials(context.environment),
    };
    let (profile, ca_file) = (keys.profile.clone(), keys.ca_file.clone());
    Ok(ReplicaLocation::S3(Box::new(S3Location { credentials, sse_customer_key, profile, ca_file, ..location })))
}

/// Litestream's own variables count where Amazon's are not set; Amazon's alone are left to the usual chain.
fn environment_credentials(environment: &BTreeMap<String, String>) -> Option<StaticCredentials> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let (aws_id, aws_secret) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"));
    if aws_id.is_some() && aws_secret.is_some() {
        return None;
    }
    Some(StaticCredentials {
        access_key_id: aws_id.or_else(|| get("LITESTREAM_ACCESS_KEY_ID"))?.clone(),
        secret_access_key: Secret::new(aws_secret.or_else(|| get("LITESTREAM_SECRET_ACCESS_KEY"))?),
        session_token: get("AWS_SESSION_TOKEN").map(Secret::new),
    })
}

fn read_key(path: &str, context: &Context<'_>) -> Result<Secret, String> {
    let path = map_path(context.path_map, &context.base.litestream(path)?);
    context.base.depends_on(&path);
    Ok(Secret::new(read_text(&path, SSE_KEY_FILE_BYTES_MAX)?.trim()))
}
