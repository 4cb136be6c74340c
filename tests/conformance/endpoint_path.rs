//! An endpoint that has a path, as Supabase's has (`https://x.supabase.co/storage/v1/s3`): the bucket and the key follow
//! behind it, and the signature covers all of it. Genuine Litestream asks the same server, which proves the server right.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use streamgauge::domain::target::{ReplicaLocation, S3Location};
use streamgauge::usecase::ports::Stores as _;
use streamgauge_testkit::http::{Answer, Request, Server};
use streamgauge_testkit::s3::listing;

use crate::servers::in_lab;
use crate::{ACCESS_KEY, LEVEL, SECRET_KEY, key, ltx_name, place, read, stores};

const PATH: &str = "/storage/v1/s3";

/// What was asked: method, path, and whether the signature was right.
type Asked = Arc<Mutex<Vec<(String, bool)>>>;

/// A bucket with one LTX file below [`PATH`], for those who sign well.
fn server() -> (Server, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let server = Server::start(move |request| {
        let signed = signature_is_right(request);
        seen.lock().unwrap().push((format!("{} {}", request.method, request.path()), signed));
        let level = request.parameter("prefix").is_some_and(|prefix| prefix.starts_with("app/0000"));
        match (signed, level) {
            (false, _) => Answer::xml(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            (true, true) => Answer::xml(200, &listing(&[(format!("app/{}", key(1)), 4096)], false)),
            (true, false) => Answer::xml(200, &listing(&[], false)),
        }
    });
    (server.unwrap(), asked)
}

/// Signature version 4, computed anew from what arrived.
fn signature_is_right(request: &Request) -> bool {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let authorization = header("authorization");
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        Some(rest.split(',').next().unwrap_or(rest).trim())
    };
    let (Some(credential), Some(names), Some(signature)) =
        (field("Credential="), field("SignedHeaders="), field("Signature="))
    else {
        return false;
    };
    let Some((id, scope)) = credential.split_once('/') else { return false };
    let mut parameters: Vec<String> = request
        .query()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    parameters.sort_unstable();
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", header(name).trim())).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        request.method,
        request.path(),
        parameters.join("&"),
        header("x-amz-content-sha256")
    );
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", header("x-amz-date"));
    let mut secret = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in scope.split('/') {
        secret = sign(&secret, part);
    }
    id == ACCESS_KEY && hex(&sign(&secret, &text)) == signature
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_path_of_the_endpoint_stands_before_the_bucket() {
    for end in ["", "/"] {
        let (server, asked) = server();
        let endpoint = Some(format!("http://127.0.0.1:{}{PATH}{end}", server.port()));
        let place = S3Location { endpoint, ..place(server.port(), "bkt", "app") };
        let store = stores(Duration::from_secs(60)).open(&ReplicaLocation::S3(Box::new(place))).unwrap();
        let page = store.list(LEVEL, None, None).await.unwrap();
        assert_eq!(page.objects[0].name, ltx_name(1));
        read(&*store, ltx_name(1), 0, 100).await.unwrap_err();
        let listed = (format!("GET {PATH}/bkt"), true);
        let read = (format!("GET {PATH}/bkt/app/{}", key(1)), true);
        let asked: Vec<_> = asked
            .lock()
            .unwrap()
            .iter()
            .map(|(path, signed)| (path.trim_end_matches('/').to_owned(), *signed))
            .collect();
        assert_eq!(asked[..2], [listed, read], "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn litestream_asks_there_as_well() {
    let program = in_lab("litestream/0.5.17/litestream");
    let (server, asked) = server();
    let endpoint = format!("http://127.0.0.1:{}{PATH}", server.port());
    let keys = format!("region: us-east-1, access-key-id: {ACCESS_KEY}, secret-access-key: {SECRET_KEY}");
    let directory = tempfile::tempdir().unwrap();
    for replica in [
        format!("{{type: s3, bucket: bkt, path: app, endpoint: '{endpoint}', {keys}}}"),
        format!("{{url: 's3://bkt/app?endpoint={endpoint}', {keys}}}"),
    ] {
        let file = directory.path().join("litestream.yml");
        std::fs::write(&file, format!("dbs: [{{path: /a.db, replica: {replica}}}]\n")).unwrap();
        let mut command = Command::new(&program);
        command.args(["ltx", "-config"]).arg(&file).arg("/a.db").env_remove("AWS_CA_BUNDLE");
        let told = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(text.contains("0000000000000001"), "{text}{}", String::from_utf8_lossy(&told.stderr));
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert!(!asked.is_empty());
        for (path, signed) in asked {
            assert_eq!((path.trim_end_matches('/'), signed), (format!("GET {PATH}/bkt").as_str(), true), "{replica}");
        }
    }
}
