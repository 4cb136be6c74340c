//! Tokens of Google, and what they are given for: a key, a machine, a user's login, the token of another identity provider
//! (RFC 8693). With one of them a service account may be asked for that lets others act as it.

use std::time::Duration;

use http::Uri;
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::account::{Account, Impersonation};
use super::external::{External, ExternalAccount};
use super::grant::{Token, granted, misconfigured};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::login::{Login, no_credentials};

const OF_USERS: &str = "https://accounts.google.com/o/oauth2/token";

/// How one gets a token.
pub(super) struct Way {
    identity: Identity,
    /// As whom one acts then, one after the other.
    accounts: Vec<Account>,
}

enum Identity {
    /// A key or a machine: object_store gets the tokens, and keeps them.
    Known(GcpCredentialProvider),
    User(User),
    External(Box<External>),
}

impl Way {
    /// By the metadata server.
    pub(super) fn of_machine(login: &Login) -> Result<Self, Reason> {
        known(login, |builder| builder).map(Self::from)
    }

    /// By what a file of credentials says.
    pub(super) fn of_file(login: &Login, file: Value) -> Result<Self, Reason> {
        let kind = file["type"].as_str().ok_or_else(|| misconfigured("not a file of credentials"))?;
        match kind {
            "service_account" => {
                known(login, |builder| builder.with_service_account_key(file.to_string())).map(Self::from)
            }
            "authorized_user" => Ok(Self::from(Identity::User(parsed(file)?))),
            "external_account" => {
                let configured: ExternalAccount = parsed(file)?;
                let accounts = Account::of(&configured.impersonation)?.into_iter().collect();
                Ok(Self { identity: Identity::External(Box::new(External::of(configured)?)), accounts })
            }
            "impersonated_service_account" => {
                let ImpersonatedAccount { source_credentials, impersonation } = parsed(file)?;
                let account = Account::of(&impersonation)?;
                let account =
                    account.ok_or_else(|| misconfigured("missing field `service_account_impersonation_url`"))?;
                let mut way = Self::of_file(login, source_credentials)?;
                way.accounts.push(account);
                Ok(way)
            }
            kind => Err(Reason::new(ReasonKind::Unsupported, format!("credentials of type {kind}"))),
        }
    }

    pub(super) async fn token(&self, login: &Login) -> Result<Token, Reason> {
        let mut token = match &self.identity {
            Identity::Known(provider) => {
                let credential = provider.get_credential().await.map_err(|error| no_credentials(&error))?;
                Token::new(&credential.bearer, Duration::ZERO)?
            }
            Identity::User(user) => user.token(login).await?,
            Identity::External(external) => external.token(login).await?,
        };
        for account in &self.accounts {
            token = account.token(login, token.bearer).await?;
        }
        Ok(token)
    }
}

impl From<Identity> for Way {
    fn from(identity: Identity) -> Self {
        Self { identity, accounts: Vec::new() }
    }
}

fn known(
    login: &Login,
    with: impl FnOnce(GoogleCloudStorageBuilder) -> GoogleCloudStorageBuilder,
) -> Result<Identity, Reason> {
    let builder = GoogleCloudStorageBuilder::new().with_bucket_name("none");
    let builder = with(builder.with_retry(Login::once()).with_http_connector(login.clone()));
    let store = builder.build().map_err(|error| no_credentials(&error))?;
    Ok(Identity::Known(store.credentials().clone()))
}

/// A login of `gcloud auth application-default login`.
#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

impl User {
    async fn token(&self, login: &Login) -> Result<Token, Reason> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("refresh_token", &self.refresh_token),
        ];
        granted(login, &Uri::from_static(OF_USERS), &fields).await
    }
}

#[derive(Deserialize)]
struct ImpersonatedAccount {
    source_credentials: Value,
    #[serde(flatten)]
    impersonation: Impersonation,
}

fn parsed<T: DeserializeOwned>(file: Value) -> Result<T, Reason> {
    serde_json::from_value(file).map_err(|error| match error.to_string() {
        missing if missing.starts_with("missing field") => misconfigured(&missing),
        // It may quote what it could not read.
        _ => misconfigured("they cannot be used"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use streamgauge_testkit::http::{Answer, Request as Asked, Server};

    use http::header::HeaderValue;
    use serde_json::json;

    use super::super::grant::SCOPE;
    use super::*;
    use crate::infrastructure::clock;
    use crate::infrastructure::store::kind::StoreOptions;

    const TIMEOUT: Duration = Duration::from_secs(16);

    fn login() -> Login {
        Login::new(&StoreOptions { timeout: TIMEOUT, concurrency: 1, ca_file: None })
    }

    /// What was asked, in order: path, `Authorization` and body.
    type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

    /// Another provider at `/subject`, a token service at `/sts` and a service account at `/iam`; `odd` may answer first.
    fn google(odd: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> (Server, Seen) {
        let seen = Seen::default();
        let server = Server::start({
            let seen = Arc::clone(&seen);
            move |asked| {
                let body = String::from_utf8_lossy(&asked.body).into_owned();
                let authorization = asked.header("authorization").unwrap_or_default().to_owned();
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push((asked.path().to_owned(), authorization.clone(), body.clone()));
                    seen.len()
                };
                let told = match asked.path() {
                    "/subject" => json!({"given": {"no": 1}, "access_token": "subjekt-geheim"}),
                    "/sts" if body.contains("subjekt") => {
                        json!({"access_token": format!("verbund-geheim-{count}"), "expires_in": 3600})
                    }
                    "/iam" if authorization.starts_with("Bearer verbund-geheim") => {
                        let end = clock::wall() + Duration::from_secs(1000);
                        json!({"accessToken": "konto-geheim", "expireTime": end})
                    }
                    path => panic!("{path} {authorization} {body}"),
                };
                odd(asked).unwrap_or_else(|| answer(200, &told))
            }
        });
        (server.unwrap(), seen)
    }

    fn answer(status: u16, body: &Value) -> Answer {
        Answer::new(status, "application/json", body.to_string())
    }

    /// A file of credentials that are at that server, with `source` of the other provider's tokens.
    fn external(server: &Server, source: Value) -> Value {
        json!({
            "type": "external_account", "audience": "//iam/pool", "subject_token_type": "urn:jwt",
            "token_url": format!("http://{}/sts", server.address), "credential_source": source,
        })
    }

    /// The same, with a service account as which one acts.
    fn impersonated(server: &Server, source: Value) -> Value {
        let mut file = external(server, source);
        file["service_account_impersonation_url"] = format!("http://{}/iam", server.address).into();
        file
    }

    async fn token(file: Value) -> Result<Token, Reason> {
        Way::of_file(&login(), file)?.token(&login()).await
    }

    /// Its words, in which no token is.
    fn told(reason: Reason) -> String {
        let told = format!("{reason:?}");
        assert!(!told.contains("geheim"), "{told}");
        format!("{}: {}", reason.kind.as_str(), reason.message)
    }

    #[tokio::test]
    async fn the_token_of_another_provider_is_exchanged_and_read_anew_each_time() {
        let (server, seen) = google(|_| None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let way = Way::of_file(&login(), external(&server, json!({"file": path}))).unwrap();
        for (written, expected) in [("subjekt-1\n", "subjekt-1"), ("subjekt+2", "subjekt+2")] {
            std::fs::write(&path, written).unwrap();
            let token = way.token(&login()).await.unwrap();
            assert!(token.bearer.is_sensitive() && token.bearer.to_str().unwrap().starts_with("Bearer verbund-geheim"));
            assert_eq!(token.kept, Duration::from_secs(3240));
            let (path, _, body) = seen.lock().unwrap().pop().unwrap();
            let mut fields: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            fields.sort_unstable();
            let expected = [
                ("audience", "//iam/pool"),
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("scope", SCOPE),
                ("subject_token", expected),
                ("subject_token_type", "urn:jwt"),
            ];
            assert_eq!((path.as_str(), fields), ("/sts", expected.map(|(a, b)| (a.into(), b.into())).to_vec()));
        }
        std::fs::write(&path, r#"{"jwt":"subjekt-3"}"#).unwrap();
        let format = json!({"type": "json", "subject_token_field_name": "jwt"});
        let mut file = external(&server, json!({"file": path, "format": format}));
        file["workforce_pool_user_project"] = "p".into();
        token(file).await.unwrap();
        let body = seen.lock().unwrap().pop().unwrap().2;
        assert!(body.contains("subject_token=subjekt-3"), "{body}");
        assert!(body.contains("options=%7B%22userProject%22%3A%22p%22%7D"), "{body}");
    }

    #[tokio::test]
    async fn an_address_gives_a_token_with_which_one_acts_as_a_service_account() {
        let (server, seen) = google(|asked| {
            let known = asked.path() != "/subject" || asked.header("metadata") == Some("geheim");
            (!known).then(|| answer(403, &json!({})))
        });
        let format = json!({"type": "json", "subject_token_field_name": "access_token"});
        let source = json!({
            "url": format!("http://{}/subject?resource=x", server.address), "headers": {"Metadata": "geheim"}, "format": format,
        });
        let file = impersonated(&server, source);
        let first = token(file.clone()).await.unwrap();
        assert_eq!(first.bearer, "Bearer konto-geheim");
        assert_eq!(first.kept.as_secs(), 3240, "by its own lifetime, and by no clock");
        let asked = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(asked.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["/subject", "/sts", "/iam"]);
        let wish: Value = serde_json::from_str(&asked[2].2).unwrap();
        assert_eq!(
            (asked[2].1.as_str(), wish),
            ("Bearer verbund-geheim-2", json!({"scope": [SCOPE], "lifetime": "3600s"}),)
        );
        let mut other = file;
        other["service_account_impersonation"] = json!({"token_lifetime_seconds": 600});
        let address = other["service_account_impersonation_url"].clone();
        let twice = json!({
            "type": "impersonated_service_account", "source_credentials": other, "delegates": ["d"],
            "service_account_impersonation_url": address,
        });
        // The service account of the fake knows nobody but the pool, which is enough to see what it is asked.
        let way = Way::of_file(&login(), twice).unwrap();
        let wishes: Vec<_> = way.accounts.iter().map(|a| (a.lifetime_seconds, a.delegates.join(","))).collect();
        assert_eq!(wishes, [(600, String::new()), (3600, "d".to_owned())]);
        way.accounts[1].token(&login(), HeaderValue::from_static("Bearer verbund-geheim")).await.unwrap();
        let wish: Value = serde_json::from_str(&seen.lock().unwrap().pop().unwrap().2).unwrap();
        assert_eq!(wish, json!({"scope": [SCOPE], "lifetime": "3600s", "delegates": ["d"]}));
    }

    #[tokio::test]
    async fn who_gives_no_token_says_why_in_a_word_and_no_token_is_repeated() {
        let error =
            |status, error: &str| answer(status, &json!({"error": error, "error_description": "no subjekt-geheim"}));
        let of_google = answer(403, &json!({"error": {"code": 403, "message": "no verbund-geheim-2"}}));
        let long = Answer::new(200, "application/json", " ".repeat(1 << 20));
        for (at, given, expected) in [
            ("/sts", error(400, "invalid_grant"), "denied: ask 127.0.0.1: status 400; the store says: no [redacted]"),
            (
                "/sts",
                error(401, "invalid_client"),
                "denied: ask 127.0.0.1: access denied; the store says: no [redacted]",
            ),
            ("/sts", error(404, "x"), "denied: ask 127.0.0.1: not found; the store says: no [redacted]"),
            ("/sts", error(429, "x"), "throttled: ask 127.0.0.1: the store asks to slow down"),
            ("/sts", error(500, "x"), "failed: ask 127.0.0.1: status 500"),
            ("/iam", of_google, "denied: ask 127.0.0.1: access denied; the store says: no [redacted]"),
            ("/subject", answer(404, &json!({})), "denied: ask 127.0.0.1: not found"),
            (
                "/subject",
                answer(200, &json!({"access_token": ["geheim"]})),
                "corrupt: read subject token: no token in it",
            ),
            (
                "/subject",
                Answer::new(200, "text/html", "<html>geheim"),
                "unreachable: ask 127.0.0.1: answered with a web page",
            ),
            ("/sts", long.clone(), "corrupt: ask 127.0.0.1: an answer of more than 65536 bytes"),
            ("/iam", long, "corrupt: ask 127.0.0.1: an answer of more than 65536 bytes"),
            (
                "/sts",
                answer(200, &json!({"access_token": 7, "geheim": 1})),
                "corrupt: answered with something else than Google",
            ),
            ("/sts", answer(200, &json!({"access_token": "a\nb", "expires_in": 1})), "corrupt: not a token"),
            ("/sts", answer(200, &json!({"access_token": "", "expires_in": 1})), "corrupt: not a token"),
            ("/sts", Answer::new(200, "x", "{\"access_token\":\"gehe"), "unreachable: the answer was cut short"),
        ] {
            let (server, _seen) = google(move |asked| (asked.path() == at).then(|| given.clone()));
            let format = json!({"type": "json", "subject_token_field_name": "access_token"});
            let url = format!("http://{}/subject", server.address);
            let told = told(token(impersonated(&server, json!({"url": url, "format": format}))).await.err().unwrap());
            assert!(told.starts_with(expected), "{at}: {told} is not {expected}");
        }
        let (server, seen) = google(|_| None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (content, expected) in [
            (None, "not_found: read subject token FILE: no such file or directory"),
            (Some(Vec::new()), "corrupt: read subject token FILE: no token in it"),
            (Some(b"geheim\xff".to_vec()), "corrupt: read subject token FILE: no token in it"),
            (Some(vec![b'x'; 65 << 10]), "corrupt: read subject token FILE: more than 65536 bytes"),
        ] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let told = told(token(external(&server, json!({"file": path}))).await.err().unwrap());
            assert_eq!(told.replace(path.to_str().unwrap(), "FILE"), expected);
        }
        assert!(seen.lock().unwrap().is_empty(), "nothing is asked for without a token");
    }

    #[test]
    fn a_token_is_used_for_no_longer_than_google_gives_one() {
        let kept = |seconds| Token::new("geheim", Duration::from_secs(seconds)).unwrap().kept.as_secs();
        assert_eq!((kept(0), kept(100), kept(u64::MAX)), (0, 90, 43200 * 9 / 10));
    }

    #[test]
    fn files_that_cannot_be_used_say_why_and_quote_nothing() {
        let (server, _seen) = google(|_| None);
        let with = |key: &str, value: Value| {
            let mut file = external(&server, json!({"file": "/token"}));
            file[key] = value;
            file
        };
        let source = |source: Value| with("credential_source", source);
        let account = |source: Value, url: &str| {
            json!({
                "type": "impersonated_service_account", "source_credentials": source,
                "service_account_impersonation_url": url,
            })
        };
        let user =
            json!({"type": "authorized_user", "client_id": "me", "client_secret": "geheim", "refresh_token": "geheim"});
        // The metadata server of Azure.
        assert!(Way::of_file(&login(), source(json!({"url": "http://169.254.169.254/token"}))).is_ok());
        for (file, expected) in [
            (json!({}), "misconfigured: not a file of credentials"),
            (json!({"type": "gdch"}), "unsupported: credentials of type gdch"),
            (json!({"type": "external_account"}), "misconfigured: missing field `audience`"),
            (with("audience", json!(["geheim"])), "misconfigured: they cannot be used"),
            (with("client_id", json!("me")), "unsupported: an external_account with a client_id"),
            (
                with("token_url", json!("http://sts.example.org/geheim")),
                "misconfigured: token_url is not an https address",
            ),
            (with("token_url", json!("file:///geheim")), "misconfigured: token_url is not an https address"),
            (
                with("service_account_impersonation_url", json!("http://10.0.0.1/geheim")),
                "misconfigured: service_account_impersonation_url is not an https address",
            ),
            (
                source(json!({"environment_id": "aws1", "url": "http://169.254.169.254"})),
                "unsupported: an external_account with the credentials of AWS (environment_id)",
            ),
            (
                source(json!({"executable": {"command": "/bin/geheim"}})),
                "unsupported: an external_account whose token comes from a program (executable)",
            ),
            (
                source(json!({"certificate": {}})),
                "unsupported: an external_account with a client certificate (certificate)",
            ),
            (source(json!({})), "misconfigured: credential_source has neither file nor url"),
            (
                source(json!({"url": "http://169.255.169.254/geheim"})),
                "misconfigured: credential_source.url is not an https address",
            ),
            (
                source(json!({"url": "https://example.org", "headers": {"x": "geheim\n"}})),
                "misconfigured: credential_source.headers cannot be sent",
            ),
            (
                source(json!({"file": "/token", "format": {"type": "json"}})),
                "misconfigured: missing field `subject_token_field_name`",
            ),
            (
                source(json!({"file": "/token", "format": {"type": "xml"}})),
                "misconfigured: credential_source.format.type is neither text nor json",
            ),
            (account(json!({"type": "geheimnis"}), "https://iam"), "unsupported: credentials of type "),
            (
                account(user.clone(), "http://iam"),
                "misconfigured: service_account_impersonation_url is not an https address",
            ),
            (
                json!({"type": "impersonated_service_account", "source_credentials": user}),
                "misconfigured: missing field `service_account_impersonation_url`",
            ),
        ] {
            let reason = Way::of_file(&login(), file).err().unwrap();
            assert_eq!(
                reason.kind == ReasonKind::Unsupported && reason.message.contains("external"),
                reason.hint.is_some()
            );
            let reason = Reason { message: reason.message.replace("geheimnis", ""), ..reason };
            assert_eq!(told(reason), expected);
        }
    }
}
