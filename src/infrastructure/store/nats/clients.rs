//! Which replicas share a connection: those with the same server and login. It is made when it is first needed, closed
//! when no replica is left, and made anew when it breaks, but not over and over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::failure;
use super::link::Link;
use crate::domain::limits::{CA_FILE_BYTES_MAX, NATS_SERVERS_MAX};
use crate::domain::places::NatsLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::certificates::certificates;
use crate::infrastructure::clock;
use crate::infrastructure::http::clocks::Clocks;
use crate::infrastructure::http::{TlsOptions, tls_config};
use crate::infrastructure::scrub::Scrub;
use crate::infrastructure::store::kind::{StoreOptions, connect_timeout};

/// Where NATS listens unless something else is said.
const DEFAULT_SERVER: &str = "127.0.0.1:4222";

/// A server that says nothing for three of them is gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long nobody tries after a connection could not be made: doubled each time.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A connection that breaks sooner counts as one that could not be made. The first such is made anew at once.
const SHORT_LIVED: Duration = Duration::from_secs(30);

/// The connections in use, each as long as a replica holds its slot.
pub(super) struct Clients {
    connect_timeout: Duration,
    ca_file: Option<PathBuf>,
    slots: Mutex<Vec<Weak<Slot>>>,
    clocks: Arc<Clocks>,
}

/// A connection for all replicas with the same server and login.
pub(super) struct Slot {
    /// Without its bucket.
    place: NatsLocation,
    ca_file: Option<PathBuf>,
    connect_timeout: Duration,
    clocks: Arc<Clocks>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    /// And when it was made.
    link: Option<(Arc<Link>, Instant)>,
    failed: Option<Failed>,
    /// Other servers of the cluster, as the last one that answered named them.
    others: Vec<ServerAddr>,
}

/// The last attempt, and when there may be another.
struct Failed {
    reason: Reason,
    pause: Duration,
    until: Instant,
}

impl State {
    /// Nobody tries for a while: longer each time, and at first for `pause`.
    fn fail(&mut self, reason: Reason, pause: Duration) {
        let doubled = |failed: &Failed| (2 * failed.pause).clamp(PAUSES.0, PAUSES.1);
        let pause = self.failed.as_ref().map_or(pause, doubled);
        self.failed = Some(Failed { reason, pause, until: clock::timer() + pause });
    }
}

impl Clients {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            connect_timeout: connect_timeout(options.timeout),
            ca_file: options.ca_file.clone(),
            slots: Mutex::default(),
            clocks: Arc::default(),
        }
    }

    /// How far the servers' clocks are ahead of ours, in seconds.
    pub(super) fn clock_offset(&self) -> Option<f64> {
        self.clocks.offset(|_| true)
    }

    /// The slot that a location shares with its like.
    pub(super) fn slot(&self, place: &NatsLocation) -> Arc<Slot> {
        let place = NatsLocation { bucket: String::new(), ..place.clone() };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.strong_count() > 0);
        if let Some(slot) = slots.iter().filter_map(Weak::upgrade).find(|slot| slot.place == place) {
            return slot;
        }
        let slot = Arc::new(Slot {
            place,
            ca_file: self.ca_file.clone(),
            connect_timeout: self.connect_timeout,
            clocks: Arc::clone(&self.clocks),
            state: tokio::sync::Mutex::default(),
        });
        slots.push(Arc::downgrade(&slot));
        slot
    }
}

impl Slot {
    /// The connection, which may break at any time. Whoever asks soon after it could not be made hears the same.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Reason> {
        let mut state = self.state.lock().await;
        if let Some((link, made)) = state.link.take() {
            match link.broken() {
                None => {
                    state.link = Some((Arc::clone(&link), made));
                    return Ok(link);
                }
                Some(reason) if clock::timer() < made + SHORT_LIVED => state.fail(reason, Duration::ZERO),
                Some(_) => state.failed = None,
            }
        }
        if let Some(failed) = state.failed.as_ref().filter(|failed| clock::timer() < failed.until) {
            return Err(failed.reason.clone());
        }
        // Resolving the name has no bound of its own.
        let made = tokio::time::timeout(2 * self.connect_timeout, self.connect(&state.others)).await;
        let made = made.unwrap_or_else(|_| Err(Reason::new(ReasonKind::Timeout, "no connection in time")));
        match made {
            Ok(link) => {
                let link = Arc::new(link);
                let others = link.client.server_info().connect_urls;
                state.others = others.iter().filter_map(|server| server.parse().ok()).take(NATS_SERVERS_MAX).collect();
                state.link = Some((Arc::clone(&link), clock::timer()));
                Ok(link)
            }
            Err(reason) => {
                state.others.clear();
                state.fail(reason.clone(), PAUSES.0);
                Err(reason)
            }
        }
    }

    async fn connect(&self, others: &[ServerAddr]) -> Result<Link, Reason> {
        let server = if self.place.server.is_empty() { DEFAULT_SERVER } else { &self.place.server };
        let named: Result<Vec<ServerAddr>, _> = server.split(',').map(str::parse).collect();
        let servers = [named.map_err(|_| failure::no_address())?, others.to_vec()].concat();
        let (broken, errors) = (watch::Sender::new(None), broadcast::Sender::new(16));
        let (is_broken, told) = (broken.subscribe(), errors.clone());
        let breaks = move |reason: Reason| {
            // The first says why.
            broken.send_if_modified(|broken: &mut Option<Reason>| {
                let is_first = broken.is_none();
                broken.get_or_insert(reason);
                is_first
            });
        };
        let on_event = move |event| {
            match event {
                Event::ServerError(error) => {
                    let said = error.to_string();
                    // Without its inbox a connection is of no use.
                    let useless = said.to_lowercase().contains("subscription");
                    let reason = failure::violation(&said, "").unwrap_or_else(failure::broke);
                    // Nobody may wait for an answer.
                    drop(told.send(said));
                    if useless {
                        breaks(reason);
                    }
                }
                Event::Disconnected | Event::Closed | Event::LameDuckMode => breaks(failure::broke()),
                _ => {}
            }
            std::future::ready(())
        };
        let made = Arc::new(AtomicBool::new(false));
        let was_made = Arc::clone(&made);
        let (place, ca_file) = (self.place.clone(), self.ca_file.clone());
        let options = blocking(move || login(&place, tls(&place, ca_file)?)).await?;
        let options = options
            .name("streamgauge")
            .require_tls(self.place.tls)
            .connection_timeout(self.connect_timeout)
            // The wrapper around all stores ends what takes too long.
            .request_timeout(None)
            .ping_interval(PING_INTERVAL)
            .ignore_discovered_servers()
            // Those that are named first: a cluster may tell of servers that nobody reaches from here.
            .retain_servers_order()
            // A connection that broke is not mended but made anew, by whoever needs it next. The library would try at once.
            .max_reconnects(servers.len())
            .reconnect_delay_callback(move |_| if was_made.load(Ordering::Relaxed) { PAUSES.1 } else { Duration::ZERO })
            .event_callback(on_event);
        let scrub = self.scrub();
        let client = options.connect(servers).await.map_err(|error| failure::connecting(&error, &scrub))?;
        made.store(true, Ordering::Relaxed);
        let clocks = Arc::clone(&self.clocks);
        Ok(Link { client, server: server.to_owned(), broken: is_broken, errors, scrub, clocks })
    }

    /// What no text of a server's may repeat.
    fn scrub(&self) -> Scrub {
        let NatsLocation { jwt, seed, nkey, password, token, .. } = &self.place;
        let mut scrub = Scrub::default();
        [jwt, seed, nkey, password, token].into_iter().flatten().for_each(|secret| scrub.hide(secret.expose()));
        scrub
    }
}

/// Logs in with what Litestream would take: the first that is there. Reads files.
fn login(place: &NatsLocation, tls: ClientConfig) -> Result<ConnectOptions, Reason> {
    let options = ConnectOptions::new().tls_client_config(tls);
    let with = |what: &str, credentials: &str| {
        let refused = |_| {
            let cause = format!("{what}: no credentials of a user in it");
            Reason::new(ReasonKind::Misconfigured, cause)
        };
        options.clone().credentials(credentials).map_err(refused)
    };
    let NatsLocation { jwt, seed, creds, nkey, username, password, token, .. } = place;
    if let (Some(jwt), Some(seed)) = (jwt, seed) {
        let block = |name: &str, text: &str| format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n\n");
        let jwt = block("NATS USER JWT", jwt.expose().trim());
        return with("jwt and seed", &(jwt + &block("USER NKEY SEED", seed.expose().trim())));
    }
    if let Some(creds) = creds {
        let read = read(creds).map_err(|reason| reason.context(format_args!("read creds {}", creds.display())))?;
        return with(&format!("creds {}", creds.display()), &String::from_utf8_lossy(&read));
    }
    Ok(match (nkey, password, token) {
        (Some(seed), _, _) => options.nkey(seed.expose().to_owned()),
        (None, Some(password), _) if !username.is_empty() => {
            options.user_and_password(username.clone(), password.expose().to_owned())
        }
        (None, _, Some(token)) => options.token(token.expose().to_owned()),
        _ => options,
    })
}

/// How servers are trusted, and who we are. Reads files.
fn tls(place: &NatsLocation, ca_file: Option<PathBuf>) -> Result<ClientConfig, Reason> {
    let ca_files = ca_file.into_iter().chain(place.root_cas.iter().cloned()).collect();
    let mut config = tls_config(&TlsOptions { skip_verify: false, ca_files })?;
    let (Some(certificate), Some(key)) = (&place.client_cert, &place.client_key) else { return Ok(config) };
    let misconfigured = |what: &str, file: &Path, error: &dyn std::fmt::Display| {
        Reason::new(ReasonKind::Misconfigured, format!("read {what} {}: {error}", file.display()))
    };
    let chain = certificates(&read(certificate)?).map_err(|error| misconfigured("client-cert", certificate, &error))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private = private.map_err(|error| misconfigured("client-key", key, &error))?;
    let certified = CertifiedKey::from_der(chain, private, &rustls::crypto::aws_lc_rs::default_provider());
    let certified = certified.map_err(|error| misconfigured("client-key", key, &error))?;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Ok(config)
}

fn read(file: &Path) -> Result<Vec<u8>, Reason> {
    let mut content = Vec::new();
    let opened = std::fs::File::open(file).map_err(Reason::from)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(opened, CA_FILE_BYTES_MAX), &mut content)?;
    Ok(content)
}
