//! The place of a replica that is neither in a directory nor in S3, as Litestream makes it of keys and URL.

use std::path::PathBuf;

use super::keys::{Fault, Keys};
use super::replica::Context;
use super::s3;
use crate::domain::places::{AbsLocation, GsLocation, NatsLocation, OssLocation, SftpLocation, WebDavLocation};
use crate::domain::secret::Secret;
use crate::domain::target::{ReplicaLocation, StaticCredentials};
use crate::infrastructure::config::value::paths::map_path;
use crate::infrastructure::config::value::url::{Url, clean};

/// Where Litestream looks for a bucket of OSS when nothing names a region.
const OSS_REGION: &str = "cn-hangzhou";

/// What a place is made of.
struct Written<'a> {
    keys: &'a Keys,
    path: &'a str,
    url: Option<&'a Url>,
    context: &'a Context<'a>,
}

/// Where Litestream keeps the replica; `kind` is neither `file` nor `s3`.
pub(super) fn location(
    kind: &str,
    keys: &Keys,
    path: &str,
    url: Option<&Url>,
    context: &Context<'_>,
) -> Result<ReplicaLocation, Fault> {
    if url.is_some_and(|url| url.userinfo.is_none() && url.raw_path.contains('@')) {
        // Perhaps the rest of a password with a slash in it, and a path is shown.
        return Err(keys.fault(
            "url",
            "an @ behind the host",
            "",
            "%2F for a slash in a password, %40 for an @ in a path",
        ));
    }
    let written = Written { keys, path, url, context };
    Ok(match kind {
        "gs" => ReplicaLocation::Gs(Box::new(written.gs()?)),
        "abs" => ReplicaLocation::Abs(Box::new(written.abs()?)),
        "sftp" => ReplicaLocation::Sftp(Box::new(written.sftp()?)),
        "webdav" => ReplicaLocation::WebDav(Box::new(written.webdav()?)),
        "nats" => ReplicaLocation::Nats(Box::new(written.nats()?)),
        _ => ReplicaLocation::Oss(Box::new(written.oss()?)),
    })
}

impl Written<'_> {
    fn missing(&self, kind: &str, key: &'static str, accepted: &str) -> Fault {
        self.keys.fault(key, format!("missing; a replica of kind {kind} needs it"), "", accepted)
    }

    /// The host of the URL, else the key; both are refused.
    fn bucket(&self, kind: &str) -> Result<String, Fault> {
        let host = self.url.map_or("", |url| url.host.as_str());
        let bucket = if host.is_empty() { &self.keys.bucket } else { host };
        if bucket.is_empty() { Err(self.missing(kind, "bucket", "a bucket's name")) } else { Ok(bucket.to_owned()) }
    }

    /// As Litestream would join names to it where it joins them as paths.
    fn clean_path(&self) -> String {
        match self.url.map_or_else(|| clean(self.path), Url::bucket_path) {
            path if path == "." => String::new(),
            path => path,
        }
    }

    fn endpoint(&self) -> Result<Option<String>, Fault> {
        match self.keys.endpoint.as_str() {
            "" => Ok(None),
            endpoint if s3::is_address(endpoint) => Ok(Some(s3::with_https(endpoint))),
            _ => Err(self.keys.fault("endpoint", "the endpoint is not the address of a server", "", s3::ADDRESS)),
        }
    }

    /// A file as this process sees it.
    fn file(&self, key: &'static str, path: &str) -> Result<Option<PathBuf>, Fault> {
        if path.is_empty() {
            return Ok(None);
        }
        let found = self.context.base.litestream(path);
        let found = found.map_err(|message| self.keys.fault(key, message, path, ""))?;
        Ok(Some(map_path(self.context.path_map, &found)))
    }

    /// What the environment says, if anything.
    fn variable(&self, name: &str) -> Option<&str> {
        self.context.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn gs(&self) -> Result<GsLocation, Fault> {
        let (ca_file, emulator) = (self.keys.ca_file.clone(), self.variable("STORAGE_EMULATOR_HOST"));
        Ok(GsLocation { bucket: self.bucket("gs")?, path: self.clean_path(), emulator: emulator.map(server), ca_file })
    }

    fn abs(&self) -> Result<AbsLocation, Fault> {
        let login = &self.keys.login;
        let of_url = || self.url.and_then(Url::user).unwrap_or_default();
        let account = if login.account_name.is_empty() { of_url() } else { login.account_name.clone() };
        let endpoint = match self.endpoint()? {
            None if account.is_empty() => None,
            None if is_account(&account) => Some(format!("https://{account}.blob.core.windows.net")),
            None => {
                // Perhaps the key in its place, and an endpoint is shown.
                let key = if login.account_name.is_empty() { "url" } else { "account-name" };
                return Err(self.keys.fault(key, "not the name of an account", "", "lowercase letters and digits"));
            }
            endpoint => endpoint,
        };
        // Litestream v0.3 knows no tokens.
        let secret = |name| self.variable(name).map(Secret::new);
        let sas_token = login.sas_token.clone().or_else(|| secret("LITESTREAM_AZURE_SAS_TOKEN"));
        Ok(AbsLocation {
            container: self.bucket("abs")?,
            path: self.clean_path(),
            endpoint,
            account_key: login.account_key.clone().or_else(|| secret("LITESTREAM_AZURE_ACCOUNT_KEY")),
            sas_token: sas_token.filter(|_| !self.context.v03),
            ca_file: self.keys.ca_file.clone(),
            account,
        })
    }

    fn sftp(&self) -> Result<SftpLocation, Fault> {
        let (keys, login) = (self.keys, &self.keys.login);
        let host = self.url.map_or("", |url| url.host.as_str());
        let host = if host.is_empty() { keys.host.rsplit('@').next().unwrap_or_default() } else { host };
        let user = Some(login.user.clone()).filter(|user| !user.is_empty()).or_else(|| self.url?.user());
        if host.is_empty() {
            return Err(self.missing("sftp", "host", "host or host:port"));
        }
        Ok(SftpLocation {
            host: host.to_owned(),
            user: user.ok_or_else(|| self.missing("sftp", "user", "a user's name"))?,
            path: self.url.map_or(self.path, |url| url.path.as_str()).to_owned(),
            password: login.password.clone().or_else(|| self.url?.password()),
            key_path: self.file("key-path", &login.key_path)?,
            host_key: Some(login.host_key.clone()).filter(|key| !key.is_empty()),
        })
    }

    fn webdav(&self) -> Result<WebDavLocation, Fault> {
        const ACCEPTED: &str = "an http or https URL";
        let (keys, login) = (self.keys, &self.keys.login);
        let wrong = |message| keys.fault("webdav-url", message, "", ACCEPTED);
        let (server, scheme) = match (keys.webdav_url.as_str(), self.url) {
            ("", Some(url)) if !url.host.is_empty() => {
                let server = Url { raw_path: String::new(), ..url.clone() };
                (server, if url.scheme == "webdavs" { "https" } else { "http" })
            }
            ("", _) => return Err(self.missing("webdav", "webdav-url", ACCEPTED)),
            (text, _) => {
                let server = Url::parse(text).map_err(wrong)?;
                let scheme = if server.scheme == "https" { "https" } else { "http" };
                (server, scheme)
            }
        };
        if !["http", "https", "webdav", "webdavs"].contains(&server.scheme.as_str()) || server.raw_path.contains('@') {
            return Err(wrong("not the address of a server"));
        }
        let path = clean(&format!("/{}", self.url.map_or(self.path, |url| url.path.as_str())));
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let user = text(&login.webdav_username).or_else(|| self.url?.user()).or_else(|| server.user());
        let password = login.webdav_password.clone().or_else(|| self.url?.password()).or_else(|| server.password());
        Ok(WebDavLocation {
            endpoint: format!("{scheme}://{}{}", server.host, server.raw_path.trim_end_matches('/')),
            path: path[1..].to_owned(),
            username: user.unwrap_or_default(),
            password,
            ca_file: keys.ca_file.clone(),
        })
    }

    fn nats(&self) -> Result<NatsLocation, Fault> {
        let login = &self.keys.login;
        let of_url = self.url.map(|url| url.bucket_path().trim_matches('/').to_owned()).unwrap_or_default();
        let (key, bucket) = if of_url.is_empty() { ("bucket", self.keys.bucket.clone()) } else { ("url", of_url) };
        if self.context.below && !bucket.is_empty() {
            let wrong = "an object store of NATS is one replica, and has none below it";
            return Err(self.keys.fault(key, wrong, &bucket, "a server alone, or a [[database.replica]]"));
        }
        if bucket.is_empty() && !self.context.below {
            return Err(self.missing("nats", "bucket", "a bucket's name"));
        }
        let roots = login.root_cas.iter().map(|file| self.file("root-cas", file));
        Ok(NatsLocation {
            server: self.url.map(|url| url.host.clone()).unwrap_or_default(),
            bucket,
            jwt: login.jwt.clone(),
            seed: login.seed.clone(),
            creds: self.file("creds", &login.creds)?,
            nkey: login.nkey.clone(),
            username: login.username.clone(),
            password: login.password.clone(),
            token: login.token.clone(),
            tls: login.tls.unwrap_or(false),
            root_cas: roots.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
            client_cert: self.file("client-cert", &login.client_cert)?,
            client_key: self.file("client-key", &login.client_key)?,
        })
    }

    fn oss(&self) -> Result<OssLocation, Fault> {
        let keys = self.keys;
        let host = self.bucket("oss")?;
        // `bucket.oss-region.aliyuncs.com`, perhaps with `-internal` behind the region.
        let named = host.strip_suffix(".aliyuncs.com").and_then(|name| name.rsplit_once(".oss-"));
        let (bucket, region) = named.unwrap_or((&host, ""));
        let region = [keys.region.as_str(), region.trim_end_matches("-internal"), OSS_REGION];
        let secret = keys.secret_access_key.as_ref().filter(|_| !keys.access_key_id.is_empty());
        Ok(OssLocation {
            bucket: bucket.to_owned(),
            path: self.url.map_or_else(|| self.path.to_owned(), Url::bucket_path),
            region: region.into_iter().find(|region| !region.is_empty()).unwrap_or_default().to_owned(),
            endpoint: self.endpoint()?,
            credentials: secret.map(|secret| StaticCredentials {
                access_key_id: keys.access_key_id.clone(),
                secret_access_key: secret.clone(),
                session_token: keys.session_token.clone(),
            }),
            ca_file: keys.ca_file.clone(),
        })
    }
}

/// The first label of a host, as Azure names accounts; `-secondary` is the copy of one in another region.
fn is_account(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63 && !text.starts_with("xn--") && text.bytes().all(is_plain)
}

/// The server of `host:port` or of a URL, as Google's client for Go takes it.
fn server(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    format!("{scheme}://{}", rest.split('/').next().unwrap_or_default())
}
