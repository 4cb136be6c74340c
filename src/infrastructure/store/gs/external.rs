//! The token of another identity provider, in a file or at an address, that Google takes for one of its own (RFC 8693).

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::Impersonation;
use super::grant::{SCOPE, Token, address, asked, granted, misconfigured};
use crate::domain::limits::TOKEN_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::store::checked::corrupt;
use crate::infrastructure::store::login::Login;

const OF_OTHERS: &str = "https://sts.googleapis.com/v1/token";

#[derive(Deserialize)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: Option<String>,
    client_id: Option<String>,
    workforce_pool_user_project: Option<String>,
    credential_source: CredentialSource,
    #[serde(flatten)]
    pub(super) impersonation: Impersonation,
}

#[derive(Deserialize)]
struct CredentialSource {
    environment_id: Option<String>,
    executable: Option<Value>,
    certificate: Option<Value>,
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
struct Format {
    #[serde(default)]
    r#type: String,
    subject_token_field_name: Option<String>,
}

/// Somebody whom another identity provider knows.
pub(super) struct External {
    address: Uri,
    /// Of the exchange, without the token.
    fields: Vec<(&'static str, String)>,
    place: Place,
    /// Where in a document of JSON the token is; `None`: there is nothing else.
    field: Option<String>,
}

/// Where the other provider's token is.
enum Place {
    File(PathBuf),
    Address(Uri, HeaderMap),
}

impl External {
    pub(super) fn of(configured: ExternalAccount) -> Result<Self, Reason> {
        if configured.client_id.is_some() {
            return Err(unsupported("an external_account with a client_id"));
        }
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
            ("scope", SCOPE.to_owned()),
            ("audience", configured.audience),
            ("subject_token_type", configured.subject_token_type),
        ];
        let project = configured.workforce_pool_user_project;
        fields.extend(project.map(|project| ("options", json!({"userProject": project}).to_string())));
        let format = &configured.credential_source.format;
        let field = match format.r#type.as_str() {
            "" | "text" => None,
            "json" => {
                let name = format.subject_token_field_name.clone();
                Some(name.ok_or_else(|| misconfigured("missing field `subject_token_field_name`"))?)
            }
            _ => return Err(misconfigured("credential_source.format.type is neither text nor json")),
        };
        let address = address("token_url", configured.token_url.as_deref().unwrap_or(OF_OTHERS))?;
        Ok(Self { address, fields, place: Place::of(configured.credential_source)?, field })
    }

    pub(super) async fn token(&self, login: &Login) -> Result<Token, Reason> {
        let subject = self.subject(login).await?;
        let mut fields: Vec<(&str, &str)> = self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        fields.push(("subject_token", &subject));
        granted(login, &self.address, &fields).await
    }

    /// The other provider's token as it is now: it is replaced before it ends.
    async fn subject(&self, login: &Login) -> Result<String, Reason> {
        match &self.place {
            Place::File(path) => {
                let file = path.clone();
                let content = blocking(move || content(&file)).await.and_then(|content| self.found(&content));
                content.map_err(|reason| reason.context(format_args!("read subject token {}", path.display())))
            }
            Place::Address(address, headers) => {
                let mut request = Request::new(Bytes::new());
                (*request.uri_mut(), *request.headers_mut()) = (address.clone(), headers.clone());
                let content = asked(login, request, "check headers of credential_source").await?;
                self.found(&content).map_err(|reason| reason.context("read subject token"))
            }
        }
    }

    fn found(&self, content: &[u8]) -> Result<String, Reason> {
        let token = match &self.field {
            None => std::str::from_utf8(content).ok().map(|text| text.trim().to_owned()),
            Some(name) => {
                let document = serde_json::from_slice::<Value>(content).ok();
                document.and_then(|document| Some(document.get(name)?.as_str()?.to_owned()))
            }
        };
        token.filter(|token| !token.is_empty()).ok_or_else(|| corrupt("no token in it".to_owned()))
    }
}

impl Place {
    fn of(configured: CredentialSource) -> Result<Self, Reason> {
        if configured.environment_id.is_some() {
            return Err(unsupported("an external_account with the credentials of AWS (environment_id)"));
        }
        if let Some(file) = configured.file {
            return Ok(Self::File(file));
        }
        if let Some(url) = configured.url {
            let mut headers = HeaderMap::new();
            for (name, value) in &configured.headers {
                let header = HeaderName::try_from(name).ok().zip(HeaderValue::from_str(value).ok());
                let unsendable = || misconfigured("credential_source.headers cannot be sent");
                let (name, mut value) = header.ok_or_else(unsendable)?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            return Ok(Self::Address(address("credential_source.url", &url)?, headers));
        }
        Err(match (configured.executable, configured.certificate) {
            (Some(_), _) => unsupported("an external_account whose token comes from a program (executable)"),
            (None, Some(_)) => unsupported("an external_account with a client certificate (certificate)"),
            (None, None) => misconfigured("credential_source has neither file nor url"),
        })
    }
}

fn content(file: &Path) -> Result<Vec<u8>, Reason> {
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > TOKEN_BYTES_MAX {
        true => Err(corrupt(format!("more than {TOKEN_BYTES_MAX} bytes"))),
        false => Ok(content),
    }
}

fn unsupported(what: &str) -> Reason {
    let hint = "have a token written to a file and name it as credential_source.file, or set \
                GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account";
    Reason::new(ReasonKind::Unsupported, what).with_hint(hint)
}
