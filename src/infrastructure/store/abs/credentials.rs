//! Who this process is for Azure, in Litestream's order: a SAS token, an account's key, and then what the platform gives: a
//! secret of the environment, a federated token, a managed identity.

use std::sync::Arc;

use object_store::azure::{AzureAccessKey, AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder, split_sas};
use tokio::sync::OnceCell;

use crate::domain::places::AbsLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::kind::StoreOptions;
use crate::infrastructure::store::login::{LastFailure, Login, no_credentials};

/// The secret that is configured for a place, if any.
pub(super) fn configured(place: &AbsLocation) -> Result<Option<AzureCredential>, Reason> {
    let wrong = |key: &str, what: &str| {
        Reason::new(ReasonKind::Misconfigured, format!("{key} is not {what}")).with_hint(format!("check {key}"))
    };
    if let Some(token) = &place.sas_token {
        let pairs = split_sas(token.expose()).ok().filter(|pairs| pairs.iter().any(|(name, _)| name == "sig"));
        return pairs.map(|pairs| Some(AzureCredential::SASToken(pairs))).ok_or_else(|| wrong("sas-token", "one"));
    }
    let Some(key) = place.account_key.as_ref().filter(|_| !place.account.is_empty()) else { return Ok(None) };
    let key = AzureAccessKey::try_new(key.expose()).map_err(|_| wrong("account-key", "in base64"))?;
    Ok(Some(AzureCredential::AccessKey(key)))
}

/// The login of the environment and the platform.
pub(super) struct Chain {
    login: Login,
    provider: OnceCell<(AzureCredentialProvider, Source)>,
    last_failure: LastFailure,
}

/// Where credentials come from, as a person is told.
type Source = &'static str;

impl Chain {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self { login: Login::new(options), provider: OnceCell::new(), last_failure: LastFailure::default() }
    }

    pub(super) async fn credential(&self) -> Result<Arc<AzureCredential>, Reason> {
        self.last_failure.or(self.fetched()).await
    }

    async fn fetched(&self) -> Result<Arc<AzureCredential>, Reason> {
        let made =
            self.provider.get_or_try_init(async || provider(self.login.clone(), |name| std::env::var(name).ok()));
        let (provider, source) = made.await?;
        provider.get_credential().await.map_err(|error| explained(no_credentials(&error), source))
    }
}

fn explained(reason: Reason, source: Source) -> Reason {
    let hint = "set account-key or sas-token, the variables AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or give \
                this machine an identity";
    reason.context(format_args!("get credentials from {source}")).with_hint(hint)
}

fn provider(
    login: Login,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(AzureCredentialProvider, Source), Reason> {
    let get = |name| variable(name).filter(|value| !value.is_empty());
    let builder = MicrosoftAzureBuilder::new().with_account("none").with_container_name("none");
    let mut builder = builder.with_retry(Login::once()).with_http_connector(login);
    if let Some(host) = get("AZURE_AUTHORITY_HOST") {
        builder = builder.with_authority_host(host.trim_end_matches('/'));
    }
    let client = get("AZURE_CLIENT_ID");
    let application = get("AZURE_TENANT_ID").zip(client.clone());
    let (builder, source) = match (application, get("AZURE_CLIENT_SECRET"), get("AZURE_FEDERATED_TOKEN_FILE")) {
        (Some((tenant, client)), Some(secret), _) => {
            let builder = builder.with_client_secret_authorization(client, secret, tenant);
            (builder.with_credential_type("client_secret"), "AZURE_CLIENT_SECRET")
        }
        (Some(_), None, _) if get("AZURE_CLIENT_CERTIFICATE_PATH").is_some() => {
            let reason = Reason::new(ReasonKind::Unsupported, "a certificate cannot be used");
            return Err(explained(reason, "AZURE_CLIENT_CERTIFICATE_PATH"));
        }
        (Some((tenant, client)), None, Some(file)) => {
            let builder = builder.with_client_id(client).with_tenant_id(tenant).with_federated_token_file(file);
            (builder.with_credential_type("workload_identity"), "AZURE_FEDERATED_TOKEN_FILE")
        }
        _ => {
            let builder = client.into_iter().fold(builder, |builder, client| builder.with_client_id(client));
            let endpoint = get("IDENTITY_ENDPOINT").into_iter();
            let builder = endpoint.fold(builder, |builder, endpoint| builder.with_msi_endpoint(endpoint));
            (builder.with_credential_type("managed_identity"), "Azure's managed identity")
        }
    };
    let store = builder.build().map_err(|error| explained(no_credentials(&error), source))?;
    Ok((store.credentials().clone(), source))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::secret::Secret;

    #[test]
    fn a_token_comes_before_a_key_and_a_secret_that_is_none_is_not_repeated() {
        let place = |sas: Option<&str>, key: Option<&str>| AbsLocation {
            account: "me".into(),
            sas_token: sas.map(Secret::new),
            account_key: key.map(Secret::new),
            ..Default::default()
        };
        let sas = configured(&place(Some("?sv=1&sig=a%2Bb%3D"), Some("Z2VoZWlt"))).unwrap().unwrap();
        let pairs = [("sv", "1"), ("sig", "a+b=")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(sas, AzureCredential::SASToken(pairs.to_vec()));
        assert!(matches!(configured(&place(None, Some("Z2VoZWlt"))).unwrap(), Some(AzureCredential::AccessKey(_))));
        assert_eq!(configured(&place(None, None)).unwrap(), None);
        for wrong in [place(Some("geheim"), None), place(Some("sv=geheim"), None), place(None, Some("geheim!"))] {
            let reason = configured(&wrong).unwrap_err();
            assert!(
                reason.kind == ReasonKind::Misconfigured && !format!("{reason:?}").contains("geheim"),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn the_environment_is_read_in_the_order_of_azures_own_clients() {
        let all = [
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_CLIENT_SECRET", "s"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ];
        let options = StoreOptions { timeout: Duration::from_secs(4), concurrency: 1, ca_file: None };
        let source = |set: &[(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            provider(Login::new(&options), variable).map(|(_, source)| source)
        };
        assert_eq!(source(&all).unwrap(), "AZURE_CLIENT_SECRET");
        assert_eq!(source(&[all[0], all[1], all[3]]).unwrap(), "AZURE_FEDERATED_TOKEN_FILE");
        for managed in [&all[1..], &[("AZURE_CLIENT_SECRET", "")], &[]] {
            assert_eq!(source(managed).unwrap(), "Azure's managed identity");
        }
        let refused = source(&[all[0], all[1], ("AZURE_CLIENT_CERTIFICATE_PATH", "/pem")]).unwrap_err();
        assert_eq!(refused.kind, ReasonKind::Unsupported);
    }
}
