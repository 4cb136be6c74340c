//! Service accounts of Google, as which others may act.

use std::time::Duration;

use http::Uri;
use http::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::grant::{SCOPE, Token, address, asked, post};
use crate::domain::reason::Reason;
use crate::infrastructure::http::document;
use crate::infrastructure::store::login::Login;

/// Where nothing else is configured.
const LIFETIME_SECONDS: u32 = 3600;

#[derive(Deserialize)]
pub(super) struct Impersonation {
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<Lifetime>,
    #[serde(default)]
    delegates: Vec<String>,
}

#[derive(Deserialize)]
struct Lifetime {
    token_lifetime_seconds: Option<u32>,
}

/// A service account, as which one acts.
pub(super) struct Account {
    address: Uri,
    pub(super) delegates: Vec<String>,
    pub(super) lifetime_seconds: u32,
}

impl Account {
    pub(super) fn of(configured: &Impersonation) -> Result<Option<Self>, Reason> {
        let Some(url) = &configured.service_account_impersonation_url else { return Ok(None) };
        let lifetime = configured.service_account_impersonation.as_ref();
        let lifetime = lifetime.and_then(|lifetime| lifetime.token_lifetime_seconds).filter(|seconds| *seconds > 0);
        Ok(Some(Self {
            address: address("service_account_impersonation_url", url)?,
            delegates: configured.delegates.clone(),
            lifetime_seconds: lifetime.unwrap_or(LIFETIME_SECONDS),
        }))
    }

    pub(super) async fn token(&self, login: &Login, bearer: HeaderValue) -> Result<Token, Reason> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Generated {
            access_token: String,
        }
        let mut wish = json!({"scope": [SCOPE], "lifetime": format!("{}s", self.lifetime_seconds)});
        if !self.delegates.is_empty() {
            wish["delegates"] = json!(self.delegates);
        }
        let mut request = post(&self.address, "application/json", wish.to_string());
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let hint = "grant roles/iam.serviceAccountTokenCreator, or roles/iam.workloadIdentityUser to an identity of a pool, on \
                    the service account";
        let answer = asked(login, request, hint).await?;
        let Generated { access_token } = document::json(&answer, "Google")?;
        Token::new(&access_token, Duration::from_secs(self.lifetime_seconds.into()))
    }
}
