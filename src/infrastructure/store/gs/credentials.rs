//! Google's application default credentials, in Litestream's order: the file that `GOOGLE_APPLICATION_CREDENTIALS` names,
//! the one that `gcloud auth application-default login` writes, the metadata server.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::header::HeaderValue;
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::domain::limits::CA_FILE_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::store::kind::StoreOptions;
use crate::infrastructure::store::login::{LastFailure, Login, no_credentials};

/// Below the home directory.
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";

/// Who this process is for Google.
pub(super) struct Credentials {
    login: Login,
    provider: OnceCell<(GcpCredentialProvider, Source)>,
    last_failure: LastFailure,
}

/// Where credentials come from, as a person is told.
type Source = String;

impl Credentials {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self { login: Login::new(options), provider: OnceCell::new(), last_failure: LastFailure::default() }
    }

    /// The value of `Authorization` for a request.
    pub(super) async fn token(&self) -> Result<HeaderValue, Reason> {
        self.last_failure.or(self.fetched()).await
    }

    async fn fetched(&self) -> Result<HeaderValue, Reason> {
        let login = self.login.clone();
        let made =
            self.provider.get_or_try_init(|| blocking(move || provider(login, file(|name| std::env::var_os(name)))));
        let (provider, source) = made.await?;
        let credential = provider.get_credential().await;
        let credential = credential.map_err(|error| explained(no_credentials(&error), source))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", credential.bearer));
        let mut value = value.map_err(|_| explained(Reason::new(ReasonKind::Corrupt, "not a token"), source))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn explained(reason: Reason, source: &str) -> Reason {
    let hint = "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run where Google's metadata \
                server is";
    reason.context(format_args!("get credentials from {source}")).with_hint(hint)
}

/// The file with the credentials, if one is meant to be there.
fn file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let well_known = || named("HOME").map(|home| home.join(WELL_KNOWN)).filter(|file| file.exists());
    named("GOOGLE_APPLICATION_CREDENTIALS").or_else(well_known)
}

/// Reads the file: call it where blocking is allowed.
fn provider(login: Login, file: Option<PathBuf>) -> Result<(GcpCredentialProvider, Source), Reason> {
    let source =
        file.as_deref().map_or_else(|| "Google's metadata server".to_owned(), |file| file.display().to_string());
    let builder = GoogleCloudStorageBuilder::new().with_bucket_name("none");
    let builder = builder.with_retry(Login::once()).with_http_connector(login);
    let builder = match &file {
        Some(file) => {
            usable(file).map_err(|reason| explained(reason, &source))?;
            builder.with_application_credentials(file.to_string_lossy())
        }
        // Nothing is read from a home directory that was not looked at.
        None => builder,
    };
    let store = builder.build().map_err(|error| explained(no_credentials(&error), &source))?;
    Ok((store.credentials().clone(), source))
}

/// Whether the file holds a kind of credentials that can be used.
fn usable(file: &Path) -> Result<(), Reason> {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    let mut text = Vec::new();
    std::fs::File::open(file)?.take(CA_FILE_BYTES_MAX).read_to_end(&mut text)?;
    let kind = serde_json::from_slice::<Kind>(&text);
    match kind.map_err(|_| Reason::new(ReasonKind::Misconfigured, "not a file of credentials"))?.r#type.as_str() {
        "service_account" | "authorized_user" => Ok(()),
        kind => Err(Reason::new(ReasonKind::Unsupported, format!("credentials of type {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn login() -> Login {
        Login::new(&StoreOptions { timeout: Duration::from_secs(4), concurrency: 1, ca_file: None })
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
                "{\"type\":\"external_account\"}",
                "unsupported: get credentials from FILE: credentials of type external_account",
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
            let reason = provider(login(), Some(file.clone())).err().unwrap();
            let told = format!("{}: {}", reason.kind.as_str(), reason.message);
            assert_eq!(told.replace(file.to_str().unwrap(), "FILE"), expected, "{text}");
        }
        let missing = provider(login(), Some(directory.path().join("none"))).err().unwrap();
        assert_eq!(missing.kind, ReasonKind::NotFound, "{missing}");
    }
}
