//! S3 as two real servers speak it: the servers of the suite, and what only S3 can show.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use streamgauge::domain::litestream::{Folder, Generation, Layout, LevelKeys, ObjectName, SegmentName};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, S3Location};
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::Stores as _;
use streamgauge::usecase::ports::{BucketStore, ReplicaStore};
use streamgauge_testkit::http::{Answer, Server as Fake};

use crate::certificates::Certificate;
use crate::directory::Files;
use crate::servers::{Server, escaped};
use crate::suite::{self, Backend, names};
use crate::{KEY, LEVEL, NAME, ltx_name, open, place, read, stores, told};

/// moto, which keeps objects itself.
struct Moto {
    server: Server,
    location: ReplicaLocation,
    store: Arc<dyn ReplicaStore>,
}

pub(crate) async fn moto() -> Box<dyn Backend> {
    moto_as(|port| ReplicaLocation::S3(Box::new(place(port, "bkt", "app")))).await
}

/// The same for another kind that speaks S3; the replica is `app` in the bucket `bkt`.
pub(crate) async fn moto_as(location: impl FnOnce(u16) -> ReplicaLocation) -> Box<dyn Backend> {
    let server = Server::moto("bkt").await;
    let location = location(server.port);
    let store = stores(Duration::from_secs(60)).open(&location).unwrap();
    Box::new(Moto { server, location, store })
}

/// rclone, which keeps them as files.
pub(crate) async fn rclone() -> Box<dyn Backend> {
    let server = Server::rclone("bkt", &[]);
    let place = place(server.port, "bkt", "app");
    let (location, store) = (ReplicaLocation::S3(Box::new(place.clone())), open(place));
    let root = server.directory().join("bkt/app");
    Box::new(Files { root, location, store, keys: LevelKeys::Hex, kept: Box::new(server) })
}

#[async_trait]
impl Backend for Moto {
    async fn put(&self, key: &str, content: &[u8]) {
        self.server.put(&escaped(&format!("/bkt/app/{key}")), content).await;
    }

    async fn remove(&self, key: &str) {
        self.server.send(Method::DELETE, &escaped(&format!("/bkt/app/{key}")), b"").await;
    }

    fn location(&self) -> Option<ReplicaLocation> {
        Some(self.location.clone())
    }

    fn keys(&self) -> LevelKeys {
        LevelKeys::Hex
    }

    fn is_dated(&self) -> bool {
        false
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.store.clone()
    }
}

/// The keys are those that Litestream 0.5.17 and 0.3.13 were seen to write to this server for each path.
#[tokio::test]
async fn odd_roots_are_read_where_litestream_writes_them() {
    let server = Server::moto("bkt").await;
    for (number, (path, v05, v03)) in [
        (".", "./", ""),
        ("", "/", ""),
        ("/a/b/", "/a/b//", "a/b/"),
        ("x//y", "x//y/", "x/y/"),
        ("spaced out", "spaced out/", "spaced out/"),
    ]
    .into_iter()
    .enumerate()
    {
        let bucket = format!("bucket{number}");
        server.put(&format!("/{bucket}"), b"").await;
        let generation = Generation(0x0123_4567_89ab_cdef);
        let segment = ObjectName::Segment(generation, SegmentName { index: 0, offset: 0 });
        for (root, name) in [(v05, NAME), (v03, segment)] {
            let key = format!("/{bucket}/{root}{}", name.key(LevelKeys::Hex));
            server.put(&escaped(&key), path.as_bytes()).await;
        }
        let store = open(place(server.port, &bucket, path));
        assert_eq!(names(&*store, LEVEL, None).await.0, [NAME], "{path}");
        assert_eq!(names(&*store, LEVEL, Some(NAME)).await.0, [NAME], "{path}");
        assert!(names(&*store, LEVEL, Some(ltx_name(8))).await.0.is_empty(), "{path}");
        assert_eq!(names(&*store, Folder::Wal(generation), None).await.0, [segment], "{path}");
        assert_eq!(store.layouts().await.unwrap(), [Layout::V5(LevelKeys::Hex), Layout::V3], "{path}");
        let folders = [Folder::Wal(generation), Folder::Snapshots(generation)];
        assert_eq!(store.folders(Layout::V3).await.unwrap(), folders, "{path}");
        for name in [NAME, segment] {
            assert_eq!(read(&*store, name, 0, 100).await.unwrap(), path, "{path}");
        }
    }
}

#[tokio::test]
async fn a_bucket_that_is_missing_says_so() {
    let server = Server::moto("bkt").await;
    let store = open(place(server.port, "other", "app"));
    let cause = "no such bucket | check that bucket other exists";
    assert_eq!(
        told(store.list(LEVEL, None, None).await.unwrap_err()),
        format!("not_found: list s3://other/app/0000/: {cause}")
    );
    assert_eq!(told(store.layouts().await.unwrap_err()), format!("not_found: list s3://other/app/: {cause}"));
    assert_eq!(
        told(store.read(NAME, 0, 1).await.unwrap_err()),
        format!("not_found: read s3://other/app/{KEY}: {cause}")
    );
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_not_repeated() {
    let server = Server::rclone("bkt", &[]);
    for (access_key, secret_key, cause) in
        [("test", "not the secret", "wrong secret key"), ("nobody", "testtesttest", "unknown access key")]
    {
        let mut place = place(server.port, "bkt", "app");
        let credentials = place.credentials.as_mut().unwrap();
        credentials.access_key_id = access_key.to_owned();
        credentials.secret_access_key = Secret::new(secret_key);
        let store = open(place);
        let hint = "check access-key-id and secret-access-key";
        assert_eq!(
            told(store.list(LEVEL, None, None).await.unwrap_err()),
            format!("denied: list s3://bkt/app/0000/: {cause} | {hint}")
        );
        assert_eq!(
            told(store.read(NAME, 0, 1).await.unwrap_err()),
            format!("denied: read s3://bkt/app/{KEY}: {cause} | {hint}")
        );
    }
}

/// A server with this certificate.
fn with(own: &Certificate) -> Server {
    let [certificate, key] = own.files();
    Server::rclone("bkt", &["--cert", certificate, "--key", key])
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_named_or_when_nothing_is_verified() {
    let tls = tempfile::tempdir().unwrap();
    let own = Certificate::self_signed(tls.path(), "server", "IP:127.0.0.1");
    let server = with(&own);
    let endpoint = Some(format!("https://127.0.0.1:{}", server.port));
    let plain = S3Location { endpoint, ..place(server.port, "bkt", "app") };

    let refused = open(plain.clone()).list(LEVEL, None, None).await.unwrap_err();
    assert_eq!(refused.kind.as_str(), "unreachable", "{refused}");
    assert_eq!(refused.hint.as_deref(), Some("configure the certificate authority as ca-file"), "{refused}");

    let trusted = S3Location { ca_file: Some(own.certificate.clone()), ..plain.clone() };
    assert!(open(trusted).list(LEVEL, None, None).await.unwrap().objects.is_empty());
    let unverified = S3Location { skip_verify: true, ..plain.clone() };
    assert!(open(unverified).list(LEVEL, None, None).await.unwrap().objects.is_empty());
    let options = StoreOptions { timeout: Duration::from_secs(60), concurrency: 1, ca_file: Some(own.certificate) };
    let store = Stores::new(options).open(&ReplicaLocation::S3(Box::new(plain))).unwrap();
    assert!(store.list(LEVEL, None, None).await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_certificate_that_cannot_serve_says_why() {
    let tls = tempfile::tempdir().unwrap();
    // What `openssl req -x509` makes unless told otherwise.
    let authority = Certificate::authority(tls.path(), "authority");
    let other = Certificate::self_signed(tls.path(), "other", "DNS:other.example");
    for (own, message, hint) in [
        (authority, "the certificate of an authority (CA:TRUE)", "basicConstraints CA:FALSE"),
        (other, "not valid for name", "address the server by a name in its certificate"),
    ] {
        let server = with(&own);
        let endpoint = Some(format!("https://127.0.0.1:{}", server.port));
        let place = S3Location { endpoint, ca_file: Some(own.certificate), ..place(server.port, "bkt", "app") };
        let refused = open(place).list(LEVEL, None, None).await.unwrap_err();
        assert_eq!(refused.kind.as_str(), "unreachable", "{refused}");
        assert!(refused.message.contains(message), "{refused}");
        assert!(refused.hint.as_deref().is_some_and(|told| told.contains(hint)), "{refused} {:?}", refused.hint);
    }
}

#[tokio::test]
async fn beacons_are_beside_their_replicas_in_buckets() {
    let rclone = Server::rclone("bkt", &[]);
    suite::beacon_is_beside(&ReplicaLocation::S3(Box::new(place(rclone.port, "bkt", "apps/one")))).await;
    assert!(rclone.directory().join("bkt/apps/one.streamgauge/beacon.json").exists());
    let mut place = place(rclone.port, "other", "app");
    let open =
        |place: &S3Location| stores(Duration::from_secs(60)).beacon(&ReplicaLocation::S3(Box::new(place.clone())));
    assert_eq!(open(&place).unwrap().find().await.unwrap_err().kind.as_str(), "not_found");
    place.credentials.as_mut().unwrap().access_key_id = "nobody".to_owned();
    let refused = told(open(&place).unwrap().put("x".into()).await.unwrap_err());
    let cause = "unknown access key | check access-key-id and secret-access-key";
    assert_eq!(refused, format!("denied: write s3://other/app.streamgauge/beacon.json: {cause}"));
}

fn bucket(place: S3Location) -> Arc<dyn BucketStore> {
    stores(Duration::from_secs(60)).bucket(&ReplicaLocation::S3(Box::new(place))).unwrap()
}

#[tokio::test]
async fn settings_of_a_bucket_are_read_where_the_provider_has_them() {
    let server = Server::moto("bkt").await;
    let bucket = || bucket(place(server.port, "bkt", "app"));
    let posture = bucket().posture().await;
    // moto tells of versioning in a document that S3 does not know.
    assert_eq!(posture.versioning_enabled, None, "{posture:?}");
    assert_eq!(posture.reason.clone().unwrap().kind.as_str(), "unsupported");
    assert_eq!(posture.object_lock_enabled, Some(false), "{posture:?}");
    assert_eq!(posture.noncurrent_expiry, Some(Vec::new()), "{posture:?}");
    assert_eq!((posture.public_access_blocked, posture.public), (Some(false), Some(false)), "{posture:?}");
    let rule = |prefix: &str| {
        format!(
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule><ID>old</ID>\
             <Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status><NoncurrentVersionExpiration>\
             <NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
        )
    };
    server.put("/bkt?lifecycle", rule("app/").as_bytes()).await;
    let policy = "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Principal\": \"*\", \
                  \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::bkt/*\"}]}";
    server.put("/bkt?policy", policy.as_bytes()).await;
    let posture = bucket().posture().await;
    assert_eq!(posture.noncurrent_expiry, Some(vec!["app/".to_owned()]), "{posture:?}");
    assert_eq!((posture.public_access_blocked, posture.public), (Some(false), Some(true)), "{posture:?}");
    let blocked = "<PublicAccessBlockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                   <BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
                   <BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets>\
                   </PublicAccessBlockConfiguration>";
    server.put("/bkt?publicAccessBlock", blocked.as_bytes()).await;
    let posture = bucket().posture().await;
    assert_eq!((posture.public_access_blocked, posture.public), (Some(true), Some(false)), "{posture:?}");
}

#[tokio::test]
async fn what_a_provider_does_not_know_or_tell_of_a_bucket_is_unknown() {
    let server = Server::rclone("bkt", &[]);
    let posture = bucket(place(server.port, "bkt", "app")).posture().await;
    assert_eq!(posture.versioning_enabled, Some(false), "{posture:?}");
    let others =
        (posture.public, posture.public_access_blocked, posture.object_lock_enabled, posture.noncurrent_expiry);
    assert_eq!(others, (None, None, None, None));
    let cause = "unsupported: read settings of s3://bkt?object-lock: the store gives an unexpected answer";
    assert_eq!(told(posture.reason.unwrap()), cause);
    let mut denied = place(server.port, "bkt", "app");
    denied.credentials.as_mut().unwrap().access_key_id = "nobody".to_owned();
    let posture = bucket(denied).posture().await;
    assert_eq!((posture.versioning_enabled, posture.public, posture.noncurrent_expiry), (None, None, None));
    let cause = "unknown access key | check access-key-id and secret-access-key";
    assert_eq!(told(posture.reason.unwrap()), format!("denied: read settings of s3://bkt?versioning: {cause}"));
}

#[tokio::test]
async fn versioning_is_on_off_or_suspended() {
    for (status, expected) in [("<Status>Enabled</Status>", true), ("<Status>Suspended</Status>", false), ("", false)] {
        let server = Fake::start(move |request| match request.query().contains("versioning") {
            true => Answer::xml(200, &format!("<VersioningConfiguration>{status}</VersioningConfiguration>")),
            false => Answer::xml(501, "<Error><Code>NotImplemented</Code></Error>"),
        });
        let server = server.unwrap();
        let posture = bucket(place(server.port(), "bkt", "app")).posture().await;
        assert_eq!((posture.versioning_enabled, posture.public), (Some(expected), None), "{status}");
        let cause = "unsupported: read settings of s3://bkt?object-lock: the store does not know this request";
        assert_eq!(told(posture.reason.unwrap()), cause);
    }
}
