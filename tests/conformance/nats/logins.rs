//! All ways to log in to a NATS server, and what is said where one does not work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, object_store::Config};
use streamgauge::domain::places::NatsLocation;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::ports::Stores as _;

use super::{BUCKET, Nats, key, names, open, put};
use crate::certificates::Certificate;
use crate::servers::program;
use crate::{LEVEL, NAME, read, stores, told};

/// Makes new credentials of an operator in a folder.
fn credentials(folder: &Path) -> impl Fn(&str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/nats/credentials.py");
    let made = Command::new(program("python")).arg(script).arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let folder = folder.to_owned();
    move |file| std::fs::read_to_string(folder.join(file)).unwrap()
}

/// Makes the bucket, with an object.
async fn fill(nats: &Nats, options: ConnectOptions) {
    let client = options.connect(format!("127.0.0.1:{}", nats.server.port)).await.unwrap();
    let config = Config { bucket: BUCKET.to_owned(), ..Config::default() };
    let bucket = jetstream::new(client).create_object_store(config).await.unwrap();
    put(&bucket, &key(NAME), b"good").await;
}

/// Without a login.
fn bare(nats: &Nats) -> NatsLocation {
    NatsLocation { username: String::new(), password: None, ..nats.place() }
}

async fn works(place: NatsLocation) {
    let store = open(place);
    assert_eq!(names(&*store, LEVEL, None).await.0, [NAME]);
    assert_eq!(read(&*store, NAME, 0, 9).await.unwrap(), "good");
}

async fn refused(place: NatsLocation, expected: &str) {
    let told = told(open(place.clone()).list(LEVEL, None, None).await.unwrap_err());
    let secrets = [&place.jwt, &place.seed, &place.nkey, &place.password, &place.token];
    for secret in secrets.into_iter().flatten() {
        assert!(!told.contains(secret.expose()), "{told}");
    }
    let cause = told.replace(&format!("list nats://{}/{BUCKET}/ltx/0/: ", place.server), "");
    assert!(cause.starts_with(expected), "{told}");
}

const DENIED: &str = "denied: the server refuses the login | check the replica's login";

#[tokio::test]
async fn each_way_to_log_in_works_in_litestreams_order() {
    let folder = tempfile::tempdir().unwrap();
    let made = credentials(folder.path());
    let secret = |text: &str| Some(Secret::new(text));
    let file = |name: &str| Some(folder.path().join(name));

    let nats = Nats::start(&made("operator.conf"));
    fill(&nats, ConnectOptions::with_credentials(&made("user.creds")).unwrap()).await;
    let jwt = NatsLocation { jwt: secret(&made("user.jwt")), seed: secret(&made("user.seed")), ..bare(&nats) };
    works(jwt.clone()).await;
    works(NatsLocation { creds: file("user.creds"), ..bare(&nats) }).await;
    // The first that is there counts, and one without its other half is not there.
    let wrong =
        || NatsLocation { token: secret("wrong"), password: secret("wrong"), username: "x".into(), ..bare(&nats) };
    works(NatsLocation { jwt: jwt.jwt.clone(), seed: jwt.seed.clone(), creds: file("missing"), ..wrong() }).await;
    works(NatsLocation { jwt: jwt.jwt.clone(), creds: file("user.creds"), nkey: secret("wrong"), ..wrong() }).await;
    refused(NatsLocation { creds: None, ..wrong() }, DENIED).await;
    refused(NatsLocation { jwt: jwt.jwt.clone(), seed: secret(&made("nkey.seed")), ..bare(&nats) }, DENIED).await;
    let missing = format!("not_found: read creds {}: no such file", folder.path().join("missing").display());
    refused(NatsLocation { creds: file("missing"), ..bare(&nats) }, &missing).await;
    let empty = "misconfigured: creds ";
    refused(NatsLocation { creds: file("nkey.public"), ..bare(&nats) }, empty).await;
    refused(
        NatsLocation { jwt: secret("falsch"), seed: secret("falsch"), ..bare(&nats) },
        "misconfigured: jwt and seed: ",
    )
    .await;
    drop(nats);

    let users = format!(
        "authorization {{ users = [ {{ nkey: {} }}, {{ user: me, password: \"sehr geheim\" }} ] }}",
        made("nkey.public")
    );
    let nats = Nats::start(&users);
    fill(&nats, ConnectOptions::with_nkey(made("nkey.seed"))).await;
    works(NatsLocation { nkey: secret(&made("nkey.seed")), ..bare(&nats) }).await;
    let me = NatsLocation { username: "me".into(), password: secret("sehr geheim"), ..bare(&nats) };
    works(NatsLocation { token: secret("wrong"), ..me.clone() }).await;
    refused(NatsLocation { password: secret("falsch"), ..me.clone() }, DENIED).await;
    refused(NatsLocation { nkey: secret(&made("user.seed")), ..me.clone() }, DENIED).await;
    refused(NatsLocation { nkey: secret(&made("nkey.public")), ..me }, "misconfigured: nkey or seed is not").await;
    drop(nats);

    let nats = Nats::start("authorization { token: \"geheimes Zeichen\" }");
    fill(&nats, ConnectOptions::with_token("geheimes Zeichen".to_owned())).await;
    works(NatsLocation { token: secret("geheimes Zeichen"), ..bare(&nats) }).await;
    works(NatsLocation { token: secret("geheimes Zeichen"), username: "no password".into(), ..bare(&nats) }).await;
    refused(NatsLocation { token: secret("falsch"), ..bare(&nats) }, DENIED).await;
    refused(bare(&nats), DENIED).await;
}

/// The users of docs/backends/nats.md.
fn least_privileges() -> String {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backends/nats.md")).unwrap();
    let policy = docs.split("```conf\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    policy.replace("BUCKET", BUCKET).replace("PASSWORD", "geheim")
}

#[tokio::test]
async fn the_least_privileges_are_enough_and_each_is_needed() {
    let policy = least_privileges();
    let admin = "{ user: admin, password: admin },\n";
    let with = |policy: &str| policy.replacen("users = [", &format!("users = [ {admin}"), 1);
    let as_user = |nats: &Nats, user: &str| NatsLocation {
        username: user.to_owned(),
        password: Some(Secret::new("geheim")),
        ..bare(nats)
    };
    let nats = Nats::start(&with(&policy));
    fill(&nats, ConnectOptions::with_user_and_password("admin".into(), "admin".into())).await;
    works(as_user(&nats, "streamgauge")).await;
    let stores = stores(Duration::from_secs(10));
    let beacon = |user: &str| stores.beacon(&ReplicaLocation::Nats(Box::new(as_user(&nats, user)))).unwrap();
    let reader = told(beacon("streamgauge").put("x".into()).await.unwrap_err());
    assert!(
        reader.starts_with("denied: write ") && reader.contains("allow the user to publish to $O.bkt.C."),
        "{reader}"
    );
    for content in ["one", "two"] {
        beacon("streamgauge-beacon").put(content.into()).await.unwrap();
        assert_eq!(beacon("streamgauge").find().await.unwrap().unwrap().content, content);
    }
    works(as_user(&nats, "streamgauge-beacon")).await;
    drop(nats);
    for (taken, kind, hint) in [
        ("\"$JS.API.STREAM.INFO.OBJ_bkt\"", "list", "allow the user to publish to $JS.API.STREAM.INFO.OBJ_bkt"),
        ("\"$JS.API.DIRECT.GET.OBJ_bkt\"", "list", "allow the user to publish to $JS.API.DIRECT.GET.OBJ_bkt"),
        ("\"_INBOX.>\"", "list", "allow the user to subscribe to _INBOX.>"),
    ] {
        assert!(policy.contains(taken), "{taken}");
        let nats = Nats::start(&with(&policy.replace(taken, "\"nothing\"")));
        fill(&nats, ConnectOptions::with_user_and_password("admin".into(), "admin".into())).await;
        let told = told(open(as_user(&nats, "streamgauge")).list(LEVEL, None, None).await.unwrap_err());
        assert!(told.starts_with(&format!("denied: {kind} ")) && told.ends_with(hint), "{told}");
    }
    for taken in ["$O.bkt.C.streamgaugeA", "$O.bkt.C.streamgaugeB", "$O.bkt.M.LnN0cmVhbWdhdWdlL2JlYWNvbi5qc29u"] {
        assert!(policy.contains(taken), "{taken}");
        let nats = Nats::start(&with(&policy.replace(taken, "nothing")));
        fill(&nats, ConnectOptions::with_user_and_password("admin".into(), "admin".into())).await;
        let location = ReplicaLocation::Nats(Box::new(as_user(&nats, "streamgauge-beacon")));
        let beacon = stores.beacon(&location).unwrap();
        // The two chunks are written in turn.
        let both = [beacon.put("one".into()).await, beacon.put("two".into()).await];
        let refused: Vec<String> = both.into_iter().filter_map(Result::err).map(told).collect();
        assert!(!refused.is_empty(), "{taken} is not needed");
        assert!(refused.iter().all(|told| told.starts_with("denied: write ")), "{taken}: {refused:?}");
    }
}

/// `ca.pem`, and what it signed: `server.pem` for this machine and `client.pem`, with keys beside them.
fn certificates(folder: &Path) {
    let authority = Certificate::authority(folder, "ca");
    authority.sign(folder, "server", "IP:127.0.0.1");
    authority.sign(folder, "client", "DNS:client");
}

#[tokio::test]
async fn tls_needs_an_authority_and_perhaps_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let config = |verify: bool| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: {verify} }}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        )
    };
    let trusting = || ConnectOptions::new().add_root_certificates(file("ca.pem"));
    let nats = Nats::start(&config(false));
    fill(&nats, trusting()).await;
    let trusted = |nats: &Nats| NatsLocation { root_cas: vec![file("ca.pem")], ..bare(nats) };
    works(trusted(&nats)).await;
    works(NatsLocation { tls: true, ..trusted(&nats) }).await;
    refused(bare(&nats), "unreachable: invalid peer certificate: ").await;
    let missing: PathBuf = file("missing.pem");
    let expected = format!("not_found: read certificate authorities {}", missing.display());
    refused(NatsLocation { root_cas: vec![missing], ..bare(&nats) }, &expected).await;
    drop(nats);

    let nats = Nats::start(&config(true));
    fill(&nats, trusting().add_client_certificate(file("client.pem"), file("client.key"))).await;
    let known =
        NatsLocation { client_cert: Some(file("client.pem")), client_key: Some(file("client.key")), ..trusted(&nats) };
    works(known.clone()).await;
    refused(trusted(&nats), "unreachable: ").await;
    let expected = "misconfigured: read client-key ";
    refused(NatsLocation { client_key: Some(file("ca.pem")), ..known }, expected).await;
    drop(nats);

    // Litestream's `tls: true` asks for it; a server that has none is not talked to.
    let nats = Nats::with_bucket().await;
    refused(NatsLocation { tls: true, ..nats.place() }, "unreachable: ").await;
}
