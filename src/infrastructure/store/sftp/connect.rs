//! From a host and a login to an SFTP session: the server's key, then password and private key, as Litestream does it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult};
use russh::keys::key::PrivateKeyWithHashAlg;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate, decode_secret_key};
use russh::{ChannelMsg, Preferred};
use russh_sftp::client::RawSftpSession;
use tokio::net::TcpStream;

use super::failure::{self, not_connected};
use super::printable;
use super::session::Session;
use crate::domain::limits::SFTP_KEY_FILE_BYTES_MAX;
use crate::domain::places::SftpLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::scrub::Scrub;

/// What a healthy server takes to accept a connection.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection on which nothing happens is asked for a sign of life, and given up when none comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const INACTIVITY_MAX: Duration = Duration::from_secs(60);

/// How long the end of a connection may take to be known.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

const PORT: u16 = 22;

/// A connection, which ends when it is dropped.
pub(super) type Ssh = client::Handle<Server>;

/// A server, and how one logs in there.
pub(super) struct Login {
    host: String,
    port: u16,
    user: String,
    password: Option<Secret>,
    key_path: Option<PathBuf>,
    /// `None`: any server is trusted, as by Litestream.
    host_key: Option<PublicKey>,
}

impl Login {
    /// Does no IO.
    pub(super) fn new(place: &SftpLocation) -> Result<Self, Reason> {
        let (host, port) = host_and_port(&place.host)
            .ok_or_else(|| Reason::new(ReasonKind::Misconfigured, "host is neither a host nor host:port"))?;
        let host_key = place.host_key.as_deref().map(parse_host_key).transpose()?;
        let SftpLocation { user, password, key_path, .. } = place.clone();
        Ok(Self { host, port, user, password, key_path, host_key })
    }

    /// With the algorithms of the expected key first: a server has several keys and shows one.
    fn preferred(&self) -> Preferred {
        let mut preferred = Preferred::DEFAULT;
        if let Some(expected) = &self.host_key {
            let expected = expected.algorithm();
            // One key of RSA has several algorithms.
            let is_expected = |one: &Algorithm| match expected {
                Algorithm::Rsa { .. } => matches!(one, Algorithm::Rsa { .. }),
                _ => *one == expected,
            };
            let (first, last): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(is_expected);
            preferred.key = first.into_iter().chain(last).collect();
        }
        preferred
    }
}

/// As Go splits them: without a port it is that of SSH.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// A line of `authorized_keys`, with or without options in front and a comment behind.
fn parse_host_key(line: &str) -> Result<PublicKey, Reason> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let kind = words.iter().position(|word| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind)));
    let key = kind.and_then(|kind| words.get(kind..kind + 2)).map(|words| words.join(" "));
    key.and_then(|key| PublicKey::from_openssh(&key).ok()).ok_or_else(|| {
        Reason::new(ReasonKind::Misconfigured, "host-key is not a public key")
            .with_hint("configure it as it stands in known_hosts after the host: ssh-ed25519 AAAA…")
    })
}

/// The server as it shows itself.
pub(super) struct Server {
    expected: Option<PublicKey>,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    Ssh(russh::Error),
    Refused(Reason),
}

impl From<russh::Error> for NoConnection {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl std::fmt::Debug for NoConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ssh(error) => write!(f, "{error}"),
            Self::Refused(reason) => write!(f, "{reason}"),
        }
    }
}

impl From<NoConnection> for Reason {
    fn from(error: NoConnection) -> Self {
        match error {
            NoConnection::Ssh(error) => not_connected(&error),
            NoConnection::Refused(reason) => reason,
        }
    }
}

impl client::Handler for Server {
    type Error = NoConnection;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, NoConnection> {
        let shown = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.key_data().clone(),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key().clone(),
        };
        match &self.expected {
            Some(expected) if *expected.key_data() != shown => {
                let told = |key: &PublicKey| format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
                let (shown, expected) = (told(&shown.into()), told(expected));
                let cause = format!("the server shows the key {shown}, and host-key is {expected}");
                Err(NoConnection::Refused(
                    Reason::new(ReasonKind::Unreachable, cause)
                        .with_hint("ask the server's operator for its key: it was changed, or another server answers"),
                ))
            }
            _ => Ok(true),
        }
    }
}

/// Connects, checks the server's key, logs in and opens a session. `patience` is for each of its requests.
pub(super) async fn connect(login: &Login, patience: Duration) -> Result<Session, Reason> {
    let key = match &login.key_path {
        Some(path) => Some(private_key(path.clone()).await?),
        None => None,
    };
    let socket = tokio::time::timeout(TCP_TIMEOUT, TcpStream::connect((&*login.host, login.port))).await;
    let socket = socket.map_err(|_| not_connected(&russh::Error::ConnectionTimeout))?;
    let socket = socket.map_err(|error| not_connected(&error.into()))?;
    socket.set_nodelay(true)?;
    let config = client::Config {
        client_id: russh::SshId::Standard(concat!("SSH-2.0-streamgauge_", env!("CARGO_PKG_VERSION")).into()),
        inactivity_timeout: Some(INACTIVITY_MAX),
        keepalive_interval: Some(KEEP_ALIVE),
        preferred: login.preferred(),
        nodelay: true,
        ..client::Config::default()
    };
    let server = Server { expected: login.host_key.clone() };
    let mut ssh = client::connect_stream(Arc::new(config), socket, server).await?;
    authenticate(&mut ssh, login, key).await?;
    let raw = open_sftp(&ssh).await?;
    let mut scrub = Scrub::default();
    scrub.hide(login.password.as_ref().map_or("", Secret::expose));
    let session = Session::new(raw, ssh, patience, scrub);
    let version = session.ask(session.raw.init()).await?;
    if version.version != russh_sftp::protocol::VERSION {
        let cause = format!("the server speaks version {} of SFTP, not 3", version.version);
        return Err(Reason::new(ReasonKind::Unsupported, cause));
    }
    Ok(session)
}

/// The password first, then the key: as Litestream.
async fn authenticate(ssh: &mut Ssh, login: &Login, key: Option<PrivateKey>) -> Result<(), Reason> {
    let user = login.user.as_str();
    let no_answer = |error| not_connected(&error);
    let mut result = AuthResult::Failure { remaining_methods: russh::MethodSet::empty(), partial_success: false };
    let has_key = key.is_some();
    if let Some(password) = &login.password {
        result = ssh.authenticate_password(user, password.expose()).await.map_err(no_answer)?;
    }
    if let Some(key) = key.filter(|_| !result.success()) {
        let hash = match matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            true => ssh.best_supported_rsa_hash().await.map_err(no_answer)?.flatten(),
            false => None,
        };
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        result = ssh.authenticate_publickey(user, key).await.map_err(no_answer)?;
    }
    if login.password.is_none() && !has_key {
        result = ssh.authenticate_none(user).await.map_err(no_answer)?;
    }
    let AuthResult::Failure { remaining_methods, .. } = result else { return Ok(()) };
    // A connection that is closed during the login looks like a refusal that offers nothing.
    if remaining_methods.is_empty() && tokio::time::timeout(CLOSED_WITHIN, &mut *ssh).await.is_ok() {
        return Err(not_connected(&russh::Error::Disconnect));
    }
    let methods: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
    let offers = if methods.is_empty() { String::new() } else { format!("; it takes {}", methods.join(", ")) };
    let cause = format!("the server does not let user {} in{offers}", printable(user));
    Err(Reason::new(ReasonKind::Denied, cause).with_hint("check user, password and key-path"))
}

async fn open_sftp(ssh: &Ssh) -> Result<RawSftpSession, Reason> {
    let refused = || Reason::new(ReasonKind::Unsupported, "the server offers this user no SFTP");
    let mut channel = ssh.channel_open_session().await.map_err(|error| match error {
        russh::Error::ChannelOpenFailure(_) => refused(),
        error => not_connected(&error),
    })?;
    channel.request_subsystem(true, "sftp").await.map_err(|error| not_connected(&error))?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(RawSftpSession::new(channel.into_stream())),
            Some(ChannelMsg::Failure) => return Err(refused()),
            Some(_) => {}
            None => return Err(failure::broke()),
        }
    }
}

/// Read each time, so that a key that is replaced is used.
async fn private_key(path: PathBuf) -> Result<PrivateKey, Reason> {
    blocking(move || read_key(&path)).await
}

fn read_key(path: &Path) -> Result<PrivateKey, Reason> {
    let doing = |reason: Reason| reason.context(format_args!("read {}", path.display()));
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SFTP_KEY_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| doing(error.into()))?;
    decode_secret_key(&text, None).map_err(|error| {
        let cause = match error {
            russh::keys::Error::KeyIsEncrypted => "the key is encrypted, and Litestream takes no passphrase",
            _ => "not a private key",
        };
        doing(Reason::new(ReasonKind::Misconfigured, cause).with_hint("check key-path"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_split_as_go_splits_them() {
        for (text, expected) in [
            ("host", Some(("host", 22))),
            ("host:2222", Some(("host", 2222))),
            ("[::1]:2222", Some(("::1", 2222))),
            ("[::1]", Some(("::1", 22))),
            ("::1", Some(("::1", 22))),
            ("host:ssh", None),
            (":22", None),
        ] {
            assert_eq!(host_and_port(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn host_keys_are_lines_of_authorized_keys() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        for line in [key.to_owned(), format!("{key} root@host"), format!("no-pty,command=\"a b\" {key} x")] {
            assert_eq!(parse_host_key(&line).unwrap().algorithm().as_str(), "ssh-ed25519", "{line}");
        }
        for line in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "host ssh-dss"] {
            assert_eq!(parse_host_key(line).unwrap_err().kind, ReasonKind::Misconfigured, "{line}");
        }
    }
}
