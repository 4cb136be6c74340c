//! Who may talk to the agent: all that a `web.config.file` says, in the format of the Prometheus exporter toolkit. The
//! file is read again when it, or a file that it names, has changed; a mistake leaves in force what was there before.

mod clients;
mod file;
mod limiter;
mod tls;
mod users;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::blocking::blocking;
use super::clock;
use super::config::Problem;
use super::files::Stamp;
use crate::domain::limits::WEB_CONFIG_INTERVAL;
use crate::usecase::ports::AskedBy;
use limiter::Limiter;
use users::{Login, Users};

/// What is in force.
#[derive(Debug, Default)]
pub struct Policy {
    /// `None`: no TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Set on every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    users: Users,
    limiter: Option<Arc<Limiter>>,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many requests, or too many passwords at once.
    TooMany,
    /// No password, or a wrong one.
    Unauthorized,
}

impl Policy {
    /// Whether a request from this address is answered: first whether there are too many, then whose it is. Who knows a
    /// password may do what the owner of the agent may.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub async fn admit(&self, from: IpAddr, headers: &HeaderMap) -> Result<AskedBy, Refused> {
        if self.limiter.as_ref().is_some_and(|limiter| !limiter.allows(clock::timer())) {
            return Err(Refused::TooMany);
        }
        match self.users.login(from, headers).await {
            Login::Known => Ok(AskedBy::Owner),
            Login::Anybody => Ok(AskedBy::Stranger),
            Login::Unknown => Err(Refused::Unauthorized),
            Login::Busy => Err(Refused::TooMany),
        }
    }
}

/// What was read of a file.
#[derive(Debug)]
pub struct Loaded {
    policy: Policy,
    /// What is accepted and does nothing.
    pub warnings: Vec<Problem>,
    stamps: Vec<Stamp>,
}

impl Loaded {
    /// Whether TLS is on.
    pub fn has_tls(&self) -> bool {
        self.policy.tls.is_some()
    }
}

/// Reads a `web.config.file` and all that it names. Blocking.
///
/// # Errors
///
/// All mistakes in it.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let (stamps, read) = file::read(path);
    read.map(|(policy, warnings)| Loaded { policy, warnings, stamps })
}

/// A web configuration, and what a client sends to be let in, from any bytes: for the fuzz targets and the property tests.
pub fn fuzz(bytes: &[u8]) {
    file::fuzz(bytes);
    users::fuzz(bytes);
    let _ = super::certificates::certificates(bytes);
}

type Read = Result<(Policy, Vec<Problem>), Vec<Problem>>;

/// Who may talk to the agent now. Without a file that is everybody who can reach it.
#[derive(Debug, Default)]
pub struct Endpoint(ArcSwap<Policy>);

impl Endpoint {
    /// The policy of this file, which is followed from now on, until nobody uses it any more. No request waits for a disk:
    /// it is looked at every [`WEB_CONFIG_INTERVAL`].
    pub fn follow(file: PathBuf, loaded: Loaded) -> Arc<Self> {
        let this = Arc::new(Self(ArcSwap::from_pointee(loaded.policy)));
        tokio::spawn(take_in(Arc::downgrade(&this), file, Seen::new(loaded.stamps)));
        this
    }

    /// What is in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.0.load_full()
    }

    fn replace(&self, file: &Path, mut policy: Policy, warnings: &[Problem]) {
        let before = self.policy();
        if policy.tls.is_some() != before.tls.is_some() {
            return tracing::warn!(?file, "web configuration not reloaded: turning TLS on or off needs a restart");
        }
        // The bucket of before is not filled by a change of something else.
        let same = |old: &&Arc<Limiter>| policy.limiter.as_ref().is_some_and(|new| new.is_like(old));
        if let Some(limiter) = before.limiter.as_ref().filter(same) {
            policy.limiter = Some(Arc::clone(limiter));
        }
        self.0.store(Arc::new(policy));
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        tracing::info!(?file, "web configuration reloaded");
    }
}

fn refused(file: &Path, problems: &[Problem]) {
    let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    tracing::error!(?file, problems, "cannot read the web configuration; the previous one stays in force");
}

/// Takes in each change of the files.
async fn take_in(endpoint: Weak<Endpoint>, file: PathBuf, mut seen: Seen) {
    loop {
        tokio::time::sleep(WEB_CONFIG_INTERVAL).await;
        let path = file.clone();
        let looked = blocking(move || Ok(seen.look(&path))).await;
        let Some(endpoint) = endpoint.upgrade() else { return };
        // Only a panic is an error here.
        let Ok((next, read)) = looked else {
            return tracing::error!(?file, "cannot watch the web configuration for changes");
        };
        seen = next;
        match read {
            None => {}
            Some(Ok((policy, warnings))) => endpoint.replace(&file, policy, &warnings),
            Some(Err(problems)) => refused(&file, &problems),
        }
    }
}

/// So many changes in a row are told.
const RESTLESS_LOOKS: u32 = 30;

/// The versions of the files that are in force, and those of the last look.
struct Seen {
    read: Vec<Stamp>,
    last: Vec<Stamp>,
    /// Looks in a row of which each found something else.
    restless: u32,
}

impl Seen {
    fn new(read: Vec<Stamp>) -> Self {
        Self { read, last: Vec::new(), restless: 0 }
    }

    /// Reads the file again if it or one that it names has changed, and not since the last look: who writes it may have
    /// come halfway, and half a file may let everybody in.
    fn look(self, path: &Path) -> (Self, Option<Read>) {
        let last: Vec<Stamp> = self.read.iter().map(Stamp::again).collect();
        if last == self.read {
            return (Self { last, restless: 0, ..self }, None);
        }
        if last == self.last {
            let (stamps, read) = file::read(path);
            // Nobody wrote while it was read, either.
            if stamps.iter().all(Stamp::holds) {
                return (Self::new(stamps), Some(read));
            }
        }
        let restless = self.restless.saturating_add(1);
        if restless == RESTLESS_LOOKS {
            tracing::warn!(file = ?path, "web configuration not reloaded: it, or a file that it names, keeps changing");
        }
        (Self { last, restless, ..self }, None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_break_a_parser(bytes: Vec<u8>, text in "([-:{}'\" \n]|basic_auth_users|tls_server_config|cert|\\$2y\\$10\\$){0,30}") {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_left_until_it_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("http_server_config: {http2: false}\n");
        let mut seen = Some(Seen::new(file::read(&path).0));
        let mut look = || {
            let (next, read) = seen.take().unwrap().look(&path);
            seen = Some(next);
            read.is_some()
        };
        assert_eq!([look(), look()], [false, false], "nothing has changed");
        write("");
        assert!(!look(), "it may be half of it");
        write("basic_auth_users: {}\n");
        assert_eq!([look(), look(), look()], [false, true, false], "taken once, when it stays");
        std::fs::remove_file(&path).unwrap();
        assert_eq!([look(), look(), look()], [false, true, false]);
    }
}
