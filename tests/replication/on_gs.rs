//! Who one is to Google Cloud Storage, by all ways that Litestream's own client has.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streamgauge_testkit::http::{Answer, Request, Server};

use super::lab::certificates::{Certificate, openssl};
use super::lab::{Lab, Process, command, free_port};

/// What Google would be asked, by `host path`, and with which token.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Gives tokens and one empty bucket to those who have one.
fn google(asked: &Asked, request: &Request) -> Answer {
    let json = |status, body: &str| Answer::new(status, "application/json", body);
    let host = request.header("host").unwrap();
    let authorization = request.header("authorization").unwrap_or_default().to_owned();
    asked.lock().unwrap().push((format!("{host} {}", request.path()), authorization.clone()));
    let body = String::from_utf8_lossy(&request.body);
    match request.path() {
        "/o/oauth2/token" if body.contains("refresh_token=geheim") => {
            json(200, r#"{"access_token":"of-a-user","expires_in":3600,"token_type":"Bearer"}"#)
        }
        "/o/oauth2/token" => {
            json(400, &format!(r#"{{"error":"invalid_grant","error_description":"Bad Request: {body}"}}"#))
        }
        "/subject" => json(200, r#"{"jwt":"subjekt-geheim"}"#),
        "/v1/token" if body.contains("subject_token=subjekt-geheim") => {
            json(200, r#"{"access_token":"verbund-geheim","expires_in":3600,"token_type":"Bearer"}"#)
        }
        "/v1/token" => json(400, &format!(r#"{{"error":"invalid_grant","error_description":"no pool for {body}"}}"#)),
        "/v1/projects/-/serviceAccounts/watch@p:generateAccessToken" => {
            let wish: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(wish["lifetime"], "3600s");
            json(200, r#"{"accessToken":"of-an-account","expireTime":"2099-01-01T00:00:00Z"}"#)
        }
        "/computeMetadata/v1/instance/service-accounts/default/token" => {
            assert_eq!(request.header("metadata-flavor"), Some("Google"));
            json(200, r#"{"access_token":"of-a-machine","expires_in":3600,"token_type":"Bearer"}"#)
        }
        "/storage/v1/b/bkt/o" if authorization.starts_with("Bearer ") => json(200, r#"{"kind":"storage#objects"}"#),
        path => json(401, &format!(r#"{{"error":{{"code":401,"message":"no {path} for {authorization}"}}}}"#)),
    }
}

/// All ways to get credentials that Litestream's client has and we have, at a Google of our own behind a proxy.
pub fn credentials(lab: &Lab, home: &Path) {
    let asked = Asked::default();
    let server = Server::start({
        let asked = Arc::clone(&asked);
        move |request| google(&asked, request)
    });
    let server = server.unwrap();
    let names =
        "DNS:storage.googleapis.com,DNS:accounts.google.com,DNS:sts.googleapis.com,DNS:iamcredentials.googleapis.com";
    let own = Certificate::self_signed(home, "google", names);
    let proxy = free_port();
    let mut program = lab.program("py/bin/python");
    program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/google.py"));
    program.args([proxy.to_string(), server.port().to_string()]).args(own.files());
    let mut way = Process::spawn(&mut program, home.join("proxy.log"));
    way.wait_until_listening(&format!("127.0.0.1:{proxy}"));

    let key = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let account = serde_json::json!({"type": "service_account", "private_key": key, "private_key_id": "k1", "client_email": "me@project"});
    let user = |token| serde_json::json!({"type": "authorized_user", "client_id": "me", "client_secret": "vertraulich", "refresh_token": token});
    fs::write(home.join("account.json"), account.to_string()).unwrap();
    fs::write(home.join("user.json"), user("geheim").to_string()).unwrap();
    fs::write(home.join("revoked.json"), user("widerrufen").to_string()).unwrap();
    fs::write(home.join("other.json"), r#"{"type":"gdch_service_account"}"#).unwrap();
    let act = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/watch@p:generateAccessToken";
    let impersonated = |source: serde_json::Value| serde_json::json!({"type": "impersonated_service_account", "source_credentials": source, "service_account_impersonation_url": act});
    fs::write(home.join("user-acts.json"), impersonated(user("geheim")).to_string()).unwrap();
    fs::write(home.join("account-acts.json"), impersonated(account.clone()).to_string()).unwrap();
    let pool = |source: serde_json::Value| serde_json::json!({"type": "external_account", "audience": "//iam/pool", "subject_token_type": "urn:jwt", "credential_source": source});
    fs::write(home.join("subject"), "subjekt-geheim").unwrap();
    fs::write(home.join("refused"), "widerrufen").unwrap();
    let format = serde_json::json!({"type": "json", "subject_token_field_name": "jwt"});
    let url = format!("http://127.0.0.1:{}/subject", server.port());
    let mut by_url = pool(serde_json::json!({"url": url, "format": format}));
    by_url["service_account_impersonation_url"] = act.into();
    fs::write(home.join("pool.json"), pool(serde_json::json!({"file": home.join("subject")})).to_string()).unwrap();
    fs::write(home.join("pool-acts.json"), by_url.to_string()).unwrap();
    fs::write(home.join("no-pool.json"), pool(serde_json::json!({"file": home.join("refused")})).to_string()).unwrap();
    fs::write(home.join("streamgauge.toml"), "[replica]\ntimeout = \"12s\"\n").unwrap();

    let told = |file: &str, metadata: u16| {
        let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
        command.args(["restorable", "gs://bkt/app", "--config.file"]).arg(home.join("streamgauge.toml"));
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}")).env("SSL_CERT_FILE", &own.certificate);
        command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").env("HOME", home);
        if file == "account.json" && metadata == 0 {
            command.env_remove("SSL_CERT_FILE");
        }
        let metadata = format!("127.0.0.1:{metadata}");
        command.env("GCE_METADATA_HOST", &metadata).env("GCE_METADATA_IP", &metadata);
        if !file.is_empty() {
            command.env("GOOGLE_APPLICATION_CREDENTIALS", home.join(file));
        }
        let begun = Instant::now();
        let output = command.output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(
            !["geheim", "vertraulich", "widerrufen", "Bearer"].iter().any(|secret| told.contains(secret)),
            "{told}"
        );
        (told, std::mem::take(&mut *asked.lock().unwrap()))
    };
    let listing = "storage.googleapis.com /storage/v1/b/bkt/o";
    let (said, seen) = told("account.json", 9);
    assert!(
        seen.iter().all(|(what, token)| what == listing && token.matches('.').count() == 2),
        "a token signed here: {seen:?}"
    );
    assert!(!seen.is_empty(), "{said}");
    let (said, seen) = told("account.json", 0);
    assert!(seen.is_empty() && said.contains("ca-file"), "an unknown authority: {said}");
    let user_token = "accounts.google.com /o/oauth2/token".to_owned();
    let (_, seen) = told("user.json", 9);
    assert_eq!(seen[0].0, user_token, "{seen:?}");
    assert_eq!(seen[1], (listing.to_owned(), "Bearer of-a-user".to_owned()));
    let (_, seen) = told("", server.port());
    assert!(seen[0].0.contains("/computeMetadata/"), "{seen:?}");
    assert_eq!(seen[1], (listing.to_owned(), "Bearer of-a-machine".to_owned()));
    let (sts, act) =
        ("sts.googleapis.com /v1/token".to_owned(), act.replacen("https://", "", 1).replacen('/', " /", 1));
    let subject = format!("127.0.0.1:{} /subject", server.port());
    for (file, way, token) in [
        ("pool.json", vec![&sts], "Bearer verbund-geheim"),
        ("pool-acts.json", vec![&subject, &sts, &act], "Bearer of-an-account"),
        ("user-acts.json", vec![&user_token, &act], "Bearer of-an-account"),
        ("account-acts.json", vec![&act], "Bearer of-an-account"),
    ] {
        let (said, seen) = told(file, 9);
        let asked: Vec<_> = seen.iter().map(|(what, _)| what).take(way.len()).collect();
        assert_eq!(asked, way, "{file}: {said}");
        assert_eq!(seen[way.len()], (listing.to_owned(), token.to_owned()), "{file}");
    }
    for (file, expected) in [
        ("no-pool.json", "no-pool.json: ask sts.googleapis.com: status 400; the store says: no pool for "),
        ("revoked.json", "revoked.json: ask accounts.google.com: status 400; the store says: Bad Request: "),
        ("other.json", "other.json: credentials of type gdch_service_account"),
        ("none.json", "none.json: no such file or directory"),
        ("", "get credentials from Google's metadata server: connection refused"),
    ] {
        let (told, seen) = told(file, 9);
        assert!(told.contains(expected), "{file}: {told}");
        assert!(seen.iter().all(|(what, _)| what != listing), "nothing is asked without credentials: {seen:?}");
    }
}
