//! The connections: replicas with the same server and login share one, which is made anew when it breaks, and not at once
//! when that fails.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::Instant;

use super::connect::{Login, connect};
use super::failure;
use super::session::Session;
use crate::domain::limits::SFTP_CALLS_MAX;
use crate::domain::places::SftpLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;

/// How long a server is left alone after so many failures to connect: about a second, doubled up to half a minute.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_DOUBLINGS_MAX: u32 = 5;

/// A connection that breaks sooner counts as a failure to connect. The first such is made anew at once.
const SHORT_LIVED: Duration = Duration::from_secs(30);

/// A healthy server lets one in faster.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// All connections, by what one needs to connect. Those that nobody uses any more are gone.
pub(super) struct Links {
    timeout: Duration,
    links: Mutex<Vec<(SftpLocation, Weak<Link>)>>,
}

impl Links {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, links: Mutex::default() }
    }

    /// The connection for a place. Does no IO.
    pub(super) fn link(&self, place: &SftpLocation) -> Result<Arc<Link>, Reason> {
        let key = SftpLocation { path: String::new(), ..place.clone() };
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, link)| link.strong_count() > 0);
        if let Some(link) = links.iter().find(|(known, _)| *known == key).and_then(|(_, link)| link.upgrade()) {
            return Ok(link);
        }
        let link = Arc::new(Link {
            login: Login::new(&key)?,
            timeout: self.timeout,
            calls: Semaphore::new(SFTP_CALLS_MAX),
            state: AsyncMutex::default(),
        });
        links.push((key, Arc::downgrade(&link)));
        Ok(link)
    }
}

/// The connection to one server with one login, made when it is first needed.
pub(super) struct Link {
    login: Login,
    timeout: Duration,
    calls: Semaphore,
    state: AsyncMutex<State>,
}

#[derive(Default)]
struct State {
    /// And when it was made.
    session: Option<(Arc<Session>, Instant)>,
    failure: Option<Failure>,
}

/// What the newest attempts to connect came to.
struct Failure {
    reason: Reason,
    times: u32,
    /// No other attempt is made before.
    until: Instant,
}

impl State {
    /// No other attempt is made for a while: longer each time, and at first for `first`.
    fn fail(&mut self, reason: Reason, first: Duration) {
        let times = self.failure.as_ref().map_or(0, |failure| failure.times);
        let until = clock::timer() + if times == 0 { first } else { pause(times) };
        self.failure = Some(Failure { reason, times: times + 1, until });
    }
}

impl Link {
    /// Does some work, and once more where the connection turns out to have broken since it was last used.
    pub(super) async fn run<T, F>(&self, work: impl Fn(Arc<Session>) -> F + Send) -> Result<T, Reason>
    where
        F: Future<Output = Result<T, Reason>> + Send,
    {
        // The semaphore is never closed.
        let _permit = self.calls.acquire().await;
        let (session, is_new) = self.session().await?;
        match work(session.clone()).await {
            Err(reason) if reason.kind == ReasonKind::Unreachable && !is_new && !session.is_alive() => {
                drop(session);
                work(self.session().await?.0).await
            }
            done => done,
        }
    }

    /// A session that works as far as is known, and whether it was made for this call.
    async fn session(&self) -> Result<(Arc<Session>, bool), Reason> {
        let mut state = self.state.lock().await;
        match &state.session {
            Some((session, _)) if session.is_alive() => return Ok((session.clone(), false)),
            Some((_, made)) if clock::timer() < *made + SHORT_LIVED => state.fail(failure::broke(), Duration::ZERO),
            Some(_) => state.failure = None,
            None => {}
        }
        state.session = None;
        if let Some(failure) = state.failure.as_ref().filter(|failure| clock::timer() < failure.until) {
            return Err(failure.reason.clone());
        }
        // Sooner than the call itself gives up, so that all who wait learn why.
        let patience = (self.timeout * 3 / 4).min(CONNECT_TIMEOUT_MAX);
        let late = || Reason::new(ReasonKind::Timeout, format!("no login within {} s", patience.as_secs_f64()));
        let connected = tokio::time::timeout(patience, connect(&self.login, self.timeout / 2));
        match connected.await.unwrap_or_else(|_| Err(late())) {
            Ok(session) => {
                let session = Arc::new(session);
                state.session = Some((session.clone(), clock::timer()));
                Ok((session, true))
            }
            Err(reason) => {
                state.fail(reason.clone(), pause(0));
                Err(reason)
            }
        }
    }
}

/// How long to wait after so many failures before. Agents whose server was gone do not all come back at one moment.
fn pause(failures: u32) -> Duration {
    let whole = PAUSE_MIN * (1 << failures.min(PAUSE_DOUBLINGS_MAX));
    // The standard library seeds its hashers from the system's random numbers.
    let jitter = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
    whole.mul_f64(0.5 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        let pauses: Vec<_> = (0..10).map(pause).collect();
        assert!(pauses[0] >= PAUSE_MIN / 2 && pauses[0] <= PAUSE_MIN);
        assert!(pauses[9] >= Duration::from_secs(16) && pauses[9] <= Duration::from_secs(32));
        assert_ne!(pause(9), pause(9));
    }

    #[test]
    fn one_connection_is_shared_by_the_replicas_of_a_login() {
        let place = |user: &str, path: &str| SftpLocation {
            host: "h".into(),
            user: user.into(),
            path: path.into(),
            ..SftpLocation::default()
        };
        let links = Links::new(Duration::from_secs(1));
        let one = links.link(&place("me", "/a")).unwrap();
        assert!(Arc::ptr_eq(&one, &links.link(&place("me", "/b")).unwrap()));
        assert!(!Arc::ptr_eq(&one, &links.link(&place("you", "/a")).unwrap()));
        drop(one);
        assert_eq!(links.links.lock().unwrap().len(), 2);
        drop(links.link(&place("me", "/a")).unwrap());
        assert_eq!(links.links.lock().unwrap().len(), 1, "those that nobody uses are forgotten");
    }
}
