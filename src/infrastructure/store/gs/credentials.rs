//! Google's application default credentials, in Litestream's order: the file that `GOOGLE_APPLICATION_CREDENTIALS` names,
//! the one that `gcloud auth application-default login` writes, the metadata server.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::header::HeaderValue;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::tokens::Way;
use crate::domain::limits::CA_FILE_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::clock::timer;
use crate::infrastructure::store::kind::StoreOptions;
use crate::infrastructure::store::login::{LastFailure, Login};

/// Below the home directory.
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";

/// Who this process is for Google.
pub(super) struct Credentials {
    login: Login,
    way: OnceCell<(Way, Source)>,
    /// The last token, and until when it is used.
    token: Mutex<Option<(HeaderValue, Instant)>>,
    last_failure: LastFailure,
}

/// Where credentials come from, as a person is told.
type Source = String;

impl Credentials {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            login: Login::new(options),
            way: OnceCell::new(),
            token: Mutex::default(),
            last_failure: LastFailure::default(),
        }
    }

    /// The value of `Authorization` for a request.
    pub(super) async fn token(&self) -> Result<HeaderValue, Reason> {
        self.last_failure.or(self.fetched()).await
    }

    async fn fetched(&self) -> Result<HeaderValue, Reason> {
        let mut kept = self.token.lock().await;
        if let Some((token, until)) = &*kept
            && timer() < *until
        {
            return Ok(token.clone());
        }
        let login = self.login.clone();
        let made = self.way.get_or_try_init(|| blocking(move || way(&login, file(|name| std::env::var_os(name)))));
        let (way, source) = made.await?;
        let token = way.token(&self.login).await.map_err(|reason| explained(reason, source))?;
        *kept = Some((token.bearer.clone(), timer() + token.kept));
        Ok(token.bearer)
    }
}

fn explained(reason: Reason, source: &str) -> Reason {
    let hint = "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run where Google's metadata \
                server is";
    let hint = reason.hint.clone().unwrap_or_else(|| hint.to_owned());
    reason.context(format_args!("get credentials from {source}")).with_hint(hint)
}

/// The file with the credentials, if one is meant to be there.
fn file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let well_known = || named("HOME").map(|home| home.join(WELL_KNOWN)).filter(|file| file.exists());
    named("GOOGLE_APPLICATION_CREDENTIALS").or_else(well_known)
}

/// Reads the file: call it where blocking is allowed.
fn way(login: &Login, file: Option<PathBuf>) -> Result<(Way, Source), Reason> {
    let source =
        file.as_deref().map_or_else(|| "Google's metadata server".to_owned(), |file| file.display().to_string());
    let way = match &file {
        Some(file) => content(file).and_then(|content| Way::of_file(login, content)),
        // Nothing is read from a home directory that was not looked at.
        None => Way::of_machine(login),
    };
    Ok((way.map_err(|reason| explained(reason, &source))?, source))
}

fn content(file: &Path) -> Result<serde_json::Value, Reason> {
    let mut text = Vec::new();
    std::fs::File::open(file)?.take(CA_FILE_BYTES_MAX).read_to_end(&mut text)?;
    // Its own text may quote the file.
    serde_json::from_slice(&text).map_err(|_| Reason::new(ReasonKind::Misconfigured, "not a file of credentials"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use streamgauge_testkit::http::{Answer, Server};

    use super::*;

    fn options() -> StoreOptions {
        StoreOptions { timeout: Duration::from_secs(16), concurrency: 1, ca_file: None }
    }

    #[test]
    fn the_file_that_is_named_comes_before_the_one_at_home() {
        let home = tempfile::tempdir().unwrap();
        let at_home = home.path().join(WELL_KNOWN);
        let variable = |named: &'static str| {
            let home = home.path().as_os_str().to_owned();
            move |name: &str| match name {
                "HOME" => Some(home.clone()),
                _ => Some(named.into()),
            }
        };
        assert_eq!(file(variable("")), None);
        std::fs::create_dir_all(at_home.parent().unwrap()).unwrap();
        std::fs::write(&at_home, "{}").unwrap();
        assert_eq!(file(variable("")), Some(at_home));
        assert_eq!(file(variable("/key.json")), Some("/key.json".into()));
    }

    #[test]
    fn a_file_that_is_not_usable_says_why_and_quotes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.json");
        for (text, expected) in [
            ("geheim", "misconfigured: get credentials from FILE: not a file of credentials"),
            (
                "{\"type\":\"gdch_service_account\"}",
                "unsupported: get credentials from FILE: credentials of type gdch_service_account",
            ),
            (
                "{\"type\":\"service_account\",\"private_key\":[\"geheim\"]}",
                "misconfigured: get credentials from FILE: they cannot be used",
            ),
            (
                "{\"type\":\"service_account\",\"private_key\":\"geheim\",\"private_key_id\":\"1\",\"client_email\":\"me\"}",
                "misconfigured: get credentials from FILE: they cannot be used",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let reason = way(&Login::new(&options()), Some(file.clone())).err().unwrap();
            let told = format!("{}: {}", reason.kind.as_str(), reason.message);
            assert_eq!(told.replace(file.to_str().unwrap(), "FILE"), expected, "{text}");
        }
        let missing = way(&Login::new(&options()), Some(directory.path().join("none"))).err().unwrap();
        assert_eq!(missing.kind, ReasonKind::NotFound, "{missing}");
    }
    #[tokio::test]
    async fn a_token_is_kept_until_it_ends_and_a_refusal_is_told_to_all() {
        let count = AtomicU32::new(0);
        let server = Server::start(move |_| {
            let count = count.fetch_add(1, Ordering::SeqCst);
            let body = match count {
                0 | 1 => format!("{{\"access_token\":\"geheim-{count}\",\"expires_in\":3600}}"),
                _ => "{\"error\":\"invalid_grant\"}".to_owned(),
            };
            Answer::new(if count < 2 { 200 } else { 400 }, "application/json", body)
        });
        let server = server.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let subject = directory.path().join("token");
        std::fs::write(&subject, "geheim").unwrap();
        let file = serde_json::json!({
            "type": "external_account", "audience": "a", "subject_token_type": "t",
            "token_url": format!("http://{}/", server.address), "credential_source": {"file": subject},
        });
        let mut credentials = Credentials::new(&options());
        let way = Way::of_file(&credentials.login, file).unwrap();
        credentials.way = OnceCell::new_with(Some((way, "FILE".to_owned())));
        let later = async |seconds| {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(seconds)).await;
            tokio::time::resume();
        };
        for (wait, expected) in [(0, "Bearer geheim-0"), (3000, "Bearer geheim-0"), (600, "Bearer geheim-1")] {
            later(wait).await;
            assert_eq!(credentials.token().await.unwrap(), expected, "after {wait} seconds more");
        }
        later(3600).await;
        for _ in 0..3 {
            let reason = credentials.token().await.unwrap_err();
            assert_eq!(reason.kind, ReasonKind::Denied);
            assert!(reason.message.starts_with("get credentials from FILE: ask 127.0.0.1: status 400"), "{reason}");
        }
        assert_eq!(server.requests(), 3);
    }
}
