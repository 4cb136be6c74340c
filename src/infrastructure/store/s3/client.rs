//! Which replicas share an S3 client. Ten thousand replicas with the same endpoint, region and credentials have one:
//! one connection pool, one set of credentials to renew.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryPartition;
use aws_sdk_s3::config::{
    Credentials, ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use md5::{Digest, Md5};
use tokio::sync::OnceCell;

use super::connector::Connector;
use super::failure::{self, Action};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;
use crate::domain::target::{S3Location, StaticCredentials};
use crate::infrastructure::http::clocks::Clocks;
use crate::infrastructure::http::{PerTls, TlsOptions};
use crate::infrastructure::store::kind::connect_timeout;

/// Where Litestream looks when nothing names a region.
const DEFAULT_REGION: &str = "us-east-1";

/// How often one request is tried.
const ATTEMPTS_MAX: u32 = 3;

/// Everything that tells two clients apart.
#[derive(Clone, PartialEq)]
struct ClientKey {
    endpoint: Option<String>,
    /// `None`: to be asked from `bucket`.
    region: Option<String>,
    /// Present only where the region has to be asked.
    bucket: Option<String>,
    force_path_style: bool,
    credentials: Option<StaticCredentials>,
    profile: Option<String>,
    tls: TlsOptions,
}

impl Eq for ClientKey {}

impl Hash for ClientKey {
    /// Secrets are compared and not hashed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.endpoint, &self.region, &self.bucket, self.force_path_style).hash(state);
        (self.credentials.as_ref().map(|credentials| &credentials.access_key_id), &self.profile).hash(state);
        self.tls.hash(state);
    }
}

/// A client that is made when it is first needed, because that takes IO, and anew when a call with it has panicked.
pub(super) struct ClientSlot {
    key: ClientKey,
    made: Mutex<Arc<OnceCell<Made>>>,
}

impl ClientSlot {
    fn made(&self) -> Arc<OnceCell<Made>> {
        Arc::clone(&self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Made {
    client: Client,
    /// The slot that the client was borrowed from once the bucket's region was known; kept so that others find it.
    lender: Option<Arc<ClientSlot>>,
}

/// A client for one call. What was locked when a call panics stays locked for ever, so nothing of that client is used
/// again.
pub(super) struct Lent<'a> {
    client: Client,
    slot: &'a ClientSlot,
    clients: &'a Clients,
}

impl Deref for Lent<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.clients.renew(self.slot);
        }
    }
}

/// The clients in use, each as long as a replica holds its slot.
pub(super) struct Clients {
    timeout: Duration,
    ca_file: Option<PathBuf>,
    slots: Mutex<HashMap<ClientKey, Weak<ClientSlot>>>,
    connectors: PerTls<Connector>,
    clocks: Arc<Clocks>,
}

impl Clients {
    /// `timeout` is for one call with all its attempts; `ca_file` is trusted beside what a location names.
    pub(super) fn new(timeout: Duration, ca_file: Option<PathBuf>) -> Self {
        Self { timeout, ca_file, slots: Mutex::default(), connectors: PerTls::default(), clocks: Arc::default() }
    }

    /// The clocks of the servers.
    pub(super) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// The slot that a location shares with its like.
    pub(super) fn slot(&self, place: &S3Location) -> Arc<ClientSlot> {
        let region = place.region.clone().or_else(|| region_of_arn(&place.bucket)).or_else(|| {
            // As Litestream does: other servers rarely care, and there may be nobody to ask.
            place.endpoint.is_some().then(|| DEFAULT_REGION.to_owned())
        });
        self.slot_of(ClientKey {
            endpoint: place.endpoint.clone(),
            bucket: region.is_none().then(|| place.bucket.clone()),
            region,
            force_path_style: place.force_path_style,
            credentials: place.credentials.clone(),
            profile: place.profile.clone(),
            tls: TlsOptions {
                skip_verify: place.skip_verify,
                ca_files: self.ca_file.iter().chain(&place.ca_file).cloned().collect(),
            },
        })
    }

    fn slot_of(&self, key: ClientKey) -> Arc<ClientSlot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(ClientSlot { key: key.clone(), made: Mutex::default() });
        if slots.len() == slots.capacity() {
            // Where the map would grow anyway: so that rotated credentials do not stay for ever.
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        slots.insert(key, Arc::downgrade(&slot));
        slot
    }

    /// The client of a slot. The first call makes it and asks for the bucket's region if nothing names it.
    pub(super) async fn client<'a>(&'a self, slot: &'a ClientSlot) -> Result<Lent<'a>, Reason> {
        let lend = |client| Lent { client, slot, clients: self };
        let Some(bucket) = &slot.key.bucket else { return self.client_of_region(slot).await.map(lend) };
        let make = || async {
            let in_region = |region| ClientKey { region: Some(region), bucket: None, ..slot.key.clone() };
            let asked = self.slot_of(in_region(DEFAULT_REGION.to_owned()));
            let asking = Lent { client: self.client_of_region(&asked).await?, slot: &asked, clients: self };
            let region = bucket_region(&asking, bucket).await?;
            let lender = self.slot_of(in_region(region));
            Ok(Made { client: self.client_of_region(&lender).await?, lender: Some(lender) })
        };
        slot.made().get_or_try_init(make).await.map(|made| lend(made.client.clone()))
    }

    async fn client_of_region(&self, slot: &ClientSlot) -> Result<Client, Reason> {
        let make = || async { Ok(Made { client: self.make(&slot.key).await?, lender: None }) };
        slot.made().get_or_try_init(make).await.map(|made| made.client.clone())
    }

    /// Forgets the client of a slot with all that it stands on: the next call builds it anew.
    fn renew(&self, slot: &ClientSlot) {
        self.connectors.forget(&slot.key.tls);
        let before = std::mem::take(&mut *slot.made.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(lender) = before.get().and_then(|made| made.lender.as_ref()) {
            *lender.made.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        }
        tracing::error!(endpoint = slot.key.endpoint, "a call to a store panicked; its client is rebuilt");
    }

    async fn make(&self, key: &ClientKey) -> Result<Client, Reason> {
        // Two attempts that hang fit in one call, which the wrapper around all stores ends.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(connect_timeout(self.timeout))
            .operation_attempt_timeout(self.timeout / 2);
        let (connect_timeout, clocks) = (connect_timeout(self.timeout), Arc::clone(&self.clocks));
        let connector = move |tls: &TlsOptions| Connector::new(tls, connect_timeout, clocks);
        let connector = self.connectors.get(&key.tls, connector).await?;
        let region = Region::new(key.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()));
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(connector.clone())
            .region(region.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts.build())
            // The call's own time-out ends a stalled download.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Many servers know no checksums or answer a range with the whole object's.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(credentials) = &key.credentials {
            loader = loader.credentials_provider(static_credentials(credentials));
        } else if let Some(profile) = &key.profile {
            // A profile that is named is meant: the environment does not stand in for it, and neither does a role.
            let shared = ProviderConfig::default().with_http_client(connector).with_region(Some(region));
            let provider = ProfileFileCredentialsProvider::builder().configure(&shared).profile_name(profile).build();
            // The SDK's own error would not name the profile.
            provider.provide_credentials().await.map_err(|_| no_profile(profile))?;
            loader = loader.credentials_provider(provider);
        }
        if let Some(endpoint) = &key.endpoint {
            loader = loader.endpoint_url(with_path_ended(endpoint));
        }
        let config = aws_sdk_s3::config::Builder::from(&loader.load().await)
            .force_path_style(key.force_path_style)
            // Its own budget of retries: a broken endpoint must not use up those of a healthy one.
            .retry_partition(RetryPartition::custom("replica").build());
        Ok(Client::from_conf(config.build()))
    }
}

/// The SDK writes the bucket's name directly behind the endpoint's path, if there is one.
fn with_path_ended(endpoint: &str) -> Cow<'_, str> {
    let path = endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    match path {
        Some((_, path)) if !path.is_empty() && !path.ends_with('/') => format!("{endpoint}/").into(),
        _ => endpoint.into(),
    }
}

fn static_credentials(credentials: &StaticCredentials) -> Credentials {
    let session_token = credentials.session_token.as_ref().map(|token| token.expose().to_owned());
    let secret = credentials.secret_access_key.expose();
    Credentials::new(&credentials.access_key_id, secret, session_token, None, "configuration")
}

fn no_profile(profile: &str) -> Reason {
    Reason::new(ReasonKind::Denied, format!("no usable credentials in profile {profile}"))
        .with_hint("check the profile in the shared AWS configuration, and that the agent's user can read it")
}

/// `arn:aws:s3:eu-west-1:123456789012:accesspoint/name` names its region itself.
fn region_of_arn(bucket: &str) -> Option<String> {
    bucket.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty()).map(str::to_owned)
}

async fn bucket_region(client: &Client, bucket: &str) -> Result<String, Reason> {
    let answer = client.get_bucket_location().bucket(bucket).send().await;
    let answer = answer.map_err(|error| failure::reason(error, Action::FindRegion, bucket));
    let answer = answer.map_err(|reason| reason.context("find the bucket's region"))?;
    Ok(match answer.location_constraint.as_ref().map(|constraint| constraint.as_str()) {
        None | Some("") => DEFAULT_REGION.to_owned(),
        // The name from before there were more regions in Europe.
        Some("EU") => "eu-west-1".to_owned(),
        Some(region) => region.to_owned(),
    })
}

/// A customer's own encryption key (SSE-C), which S3 wants with its digest.
pub(super) struct CustomerKey {
    /// Base64 of 32 bytes.
    pub(super) key: Secret,
    /// Base64 of the MD5 of these bytes.
    pub(super) md5: String,
}

impl CustomerKey {
    pub(super) fn new(key: &Secret) -> Result<Self, Reason> {
        let bytes = aws_smithy_types::base64::decode(key.expose()).ok().filter(|bytes| bytes.len() == 32);
        let bytes = bytes
            .ok_or_else(|| Reason::new(ReasonKind::Misconfigured, "sse-customer-key is not the base64 of 32 bytes"))?;
        Ok(Self { key: key.clone(), md5: aws_smithy_types::base64::encode(Md5::digest(bytes)) })
    }
}

#[cfg(test)]
mod tests {
    use streamgauge_testkit::http::{Answer, Server};

    use super::*;

    fn place(bucket: &str) -> S3Location {
        S3Location { bucket: bucket.to_owned(), endpoint: Some("http://127.0.0.1:1".to_owned()), ..Default::default() }
    }

    fn with_secret(secret: &str) -> S3Location {
        let secret_access_key = Secret::new(secret);
        let credentials = StaticCredentials { access_key_id: "id".to_owned(), secret_access_key, session_token: None };
        S3Location { credentials: Some(credentials), ..place("a") }
    }

    #[test]
    fn replicas_share_a_client_unless_something_tells_them_apart() {
        let clients = Clients::new(Duration::from_secs(1), None);
        let slot = clients.slot(&place("a"));
        assert!(Arc::ptr_eq(&slot, &clients.slot(&place("b"))));
        let others = [
            with_secret("one"),
            with_secret("two"),
            S3Location { skip_verify: true, ..place("a") },
            S3Location { region: Some("eu-west-1".to_owned()), ..place("a") },
            S3Location { endpoint: None, ..place("a") },
            S3Location { endpoint: None, ..place("b") },
        ]
        .map(|other| clients.slot(&other));
        for (index, other) in others.iter().enumerate() {
            assert!(!Arc::ptr_eq(&slot, other), "{index}");
            assert!(others[..index].iter().all(|earlier| !Arc::ptr_eq(earlier, other)), "{index}");
        }
    }

    #[test]
    fn slots_that_nobody_holds_are_forgotten() {
        let clients = Clients::new(Duration::from_secs(1), None);
        for rotation in 0..1000 {
            clients.slot(&with_secret(&rotation.to_string()));
        }
        assert!(clients.slots.lock().unwrap().len() < 10);
    }

    #[test]
    fn an_access_point_names_its_region() {
        let arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/name";
        assert_eq!(region_of_arn(arn).as_deref(), Some("eu-west-1"));
        assert_eq!(region_of_arn("bucket"), None);
    }

    /// A server that gives one answer, and a client for it.
    async fn answering(body: &'static str) -> (Server, Client) {
        let server = Server::start(move |_| Answer::xml(200, body)).unwrap();
        let endpoint = Some(format!("http://{}", server.address));
        let clients = Clients::new(Duration::from_secs(60), None);
        let place = S3Location { endpoint, force_path_style: true, ..with_secret("secret") };
        let client = clients.client(&clients.slot(&place)).await.unwrap().clone();
        (server, client)
    }

    #[tokio::test]
    async fn a_client_with_which_a_call_panicked_is_built_anew() {
        let clients = Clients::new(Duration::from_secs(1), None);
        let slot = clients.slot(&with_secret("secret"));
        let first = {
            let _lent = clients.client(&slot).await.unwrap();
            slot.made()
        };
        assert!(Arc::ptr_eq(&first, &slot.made()), "it is kept after a call that ended");
        let panicking = std::panic::AssertUnwindSafe(async {
            let _lent = clients.client(&slot).await.unwrap();
            panic!("on purpose");
        });
        assert!(futures_util::FutureExt::catch_unwind(panicking).await.is_err());
        assert!(!Arc::ptr_eq(&first, &slot.made()));
        assert!(!clients.connectors.has(&slot.key.tls), "nor is its transport used again");
        assert!(clients.client(&slot).await.is_ok());
    }

    #[tokio::test]
    async fn a_bucket_says_where_it_is() {
        for (answer, expected) in [
            ("<LocationConstraint>eu-central-1</LocationConstraint>", "eu-central-1"),
            ("<LocationConstraint>EU</LocationConstraint>", "eu-west-1"),
            ("<LocationConstraint/>", "us-east-1"),
        ] {
            let (_server, client) = answering(answer).await;
            assert_eq!(bucket_region(&client, "a").await.unwrap(), expected, "{answer}");
        }
    }

    #[test]
    fn a_customer_key_gets_its_digest() {
        // 32 zero bytes.
        let key = Secret::new("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_eq!(CustomerKey::new(&key).unwrap().md5, "cLyPS3KoaSFGi/joRB3OUQ==");
        assert!(CustomerKey::new(&Secret::new("short")).is_err());
    }
}
