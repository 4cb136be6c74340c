//! Who one is to Azure Blob Storage, by all ways that the environment and the platform have.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streamgauge_testkit::http::{Answer, Request, Server};

use super::lab::{Lab, command};

/// What Azure would be asked: the path and the token.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Gives tokens and one empty container to those who have one.
fn azure(asked: &Asked, request: &Request) -> Answer {
    let authorization = request.header("authorization").unwrap_or_default().to_owned();
    asked.lock().unwrap().push((request.path().to_owned(), authorization.clone()));
    let json = |status, body: &str| Answer::new(status, "application/json", body);
    let body = String::from_utf8_lossy(&request.body);
    let token =
        |name: &str| json(200, &format!(r#"{{"token_type":"Bearer","access_token":"{name}","expires_in":3600}}"#));
    match request.path() {
        "/tenant/oauth2/v2.0/token" if body.contains("client_secret=geheim") => token("by-secret"),
        "/tenant/oauth2/v2.0/token" if body.contains("client_assertion=vertraulich") => token("by-federation"),
        "/tenant/oauth2/v2.0/token" => {
            json(401, &format!(r#"{{"error":"invalid_client","error_description":"AADSTS7000215: not {body}"}}"#))
        }
        "/msi/token" => {
            assert_eq!(request.header("metadata"), Some("true"));
            let end = jiff::Timestamp::now().as_second() + 3600;
            json(200, &format!(r#"{{"access_token":"by-machine","expires_on":"{end}","token_type":"Bearer"}}"#))
        }
        "/me/box" if authorization.starts_with("Bearer by-") => {
            Answer::xml(200, "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>")
        }
        path => Answer::xml(
            401,
            &format!(
                "<Error><Code>NoAuthenticationInformation</Code><Message>{path} {authorization}</Message></Error>"
            ),
        ),
    }
}

/// All ways in which the environment and the platform give credentials.
pub fn credentials(_: &Lab, home: &Path) {
    let asked = Asked::default();
    let server = Server::start({
        let asked = Arc::clone(&asked);
        move |request| azure(&asked, request)
    });
    let server = server.unwrap();
    let replica =
        format!("{{type: abs, account-name: me, bucket: box, path: app, endpoint: \"http://{}/me\"}}", server.address);
    fs::write(home.join("litestream.yml"), format!("dbs:\n  - {{path: /none.db, replica: {replica}}}\n")).unwrap();
    let litestream = home.join("litestream.yml");
    let toml = format!("[litestream]\nconfig = {litestream:?}\n[replica]\ntimeout = \"12s\"\n");
    fs::write(home.join("streamgauge.toml"), toml).unwrap();
    fs::write(home.join("token"), "vertraulich").unwrap();
    let token = home.join("token").display().to_string();
    let authority = format!("http://{}/", server.address);
    let application =
        [("AZURE_AUTHORITY_HOST", authority.as_str()), ("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "client")];

    let told = |environment: &[(&str, &str)]| {
        let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
        command.args(["restorable", "none", "--config.file"]).arg(home.join("streamgauge.toml"));
        let begun = Instant::now();
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(!["geheim", "vertraulich", "Bearer"].iter().any(|secret| told.contains(secret)), "{told}");
        (told, std::mem::take(&mut *asked.lock().unwrap()))
    };
    let with = |more: &[(&'static str, &str)]| {
        let (said, seen) = told(&[&application[..], more].concat());
        assert!(seen.len() >= 2, "{said}");
        (seen[0].0.clone(), seen[1].clone())
    };
    let granted = |name: &str| ("/me/box".to_owned(), format!("Bearer {name}"));
    let exchange = "/tenant/oauth2/v2.0/token".to_owned();
    assert_eq!(with(&[("AZURE_CLIENT_SECRET", "geheim")]), (exchange.clone(), granted("by-secret")));
    assert_eq!(with(&[("AZURE_FEDERATED_TOKEN_FILE", &token)]), (exchange, granted("by-federation")));
    let identity = format!("http://{}/msi/token", server.address);
    assert_eq!(with(&[("IDENTITY_ENDPOINT", &identity)]), ("/msi/token".to_owned(), granted("by-machine")));
    for (more, expected) in [
        (
            ("AZURE_CLIENT_SECRET", "falschgeheim"),
            "get credentials from AZURE_CLIENT_SECRET: access denied; the store says: AADSTS7000215",
        ),
        (
            ("AZURE_FEDERATED_TOKEN_FILE", "/none"),
            "get credentials from AZURE_FEDERATED_TOKEN_FILE: they cannot be used",
        ),
        (
            ("IDENTITY_ENDPOINT", "http://127.0.0.1:9/"),
            "get credentials from Azure's managed identity: connection refused",
        ),
    ] {
        let (told, seen) = told(&[&application[..], &[more]].concat());
        assert!(told.contains(expected), "{told}");
        assert!(seen.iter().all(|(path, _)| path != "/me/box"), "nothing is asked without credentials: {seen:?}");
    }
}
