//! Who one is to Google Cloud Storage, by all ways that Litestream's own client has.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streamgauge_testkit::http::{Answer, Request, Server};

use super::lab::{Lab, Process, command, free_port};
use super::tls::{openssl, self_signed};

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
    let names = "DNS:storage.googleapis.com,DNS:accounts.google.com";
    let [certificate, tls_key] = self_signed(home, names, "CA:FALSE");
    let proxy = free_port();
    let mut program = lab.program("py/bin/python");
    program.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/google.py"));
    program.args([proxy.to_string(), server.port().to_string()]).args([&certificate, &tls_key]);
    let mut way = Process::spawn(&mut program, home.join("proxy.log"));
    way.wait_until_listening(&format!("127.0.0.1:{proxy}"));

    let key = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], home);
    let account = serde_json::json!({"type": "service_account", "private_key": key, "private_key_id": "k1", "client_email": "me@project"});
    let user = |token| serde_json::json!({"type": "authorized_user", "client_id": "me", "client_secret": "vertraulich", "refresh_token": token});
    fs::write(home.join("account.json"), account.to_string()).unwrap();
    fs::write(home.join("user.json"), user("geheim").to_string()).unwrap();
    fs::write(home.join("revoked.json"), user("widerrufen").to_string()).unwrap();
    fs::write(home.join("other.json"), r#"{"type":"external_account"}"#).unwrap();
    fs::write(home.join("streamgauge.toml"), "[replica]\ntimeout = \"12s\"\n").unwrap();

    let told = |file: &str, metadata: u16| {
        let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
        command.args(["restorable", "gs://bkt/app", "--config.file"]).arg(home.join("streamgauge.toml"));
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}")).env("SSL_CERT_FILE", &certificate);
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
    let (_, seen) = told("user.json", 9);
    assert_eq!(seen[0].0, "accounts.google.com /o/oauth2/token", "{seen:?}");
    assert_eq!(seen[1], (listing.to_owned(), "Bearer of-a-user".to_owned()));
    let (_, seen) = told("", server.port());
    assert!(seen[0].0.contains("/computeMetadata/"), "{seen:?}");
    assert_eq!(seen[1], (listing.to_owned(), "Bearer of-a-machine".to_owned()));
    for (file, expected) in [
        ("revoked.json", "revoked.json: status 400; the store says: Bad Request: "),
        ("other.json", "other.json: credentials of type external_account"),
        ("none.json", "none.json: no such file or directory"),
        ("", "get credentials from Google's metadata server: connection refused"),
    ] {
        let (told, seen) = told(file, 9);
        assert!(told.contains(expected), "{file}: {told}");
        assert!(seen.iter().all(|(what, _)| what != listing), "nothing is asked without credentials: {seen:?}");
    }
}
