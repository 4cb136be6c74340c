//! The keys of a replica with which one logs in, beside those of S3.

use crate::domain::secret::Secret;
use crate::infrastructure::config::value::section::Section;

/// The keys with which one logs in, of all these kinds.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(super) account_name: String,
    pub(super) account_key: Option<Secret>,
    pub(super) sas_token: Option<Secret>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) key_path: String,
    pub(super) host_key: String,
    pub(super) webdav_username: String,
    pub(super) webdav_password: Option<Secret>,
    pub(super) jwt: Option<Secret>,
    pub(super) seed: Option<Secret>,
    pub(super) creds: String,
    pub(super) nkey: Option<Secret>,
    pub(super) username: String,
    pub(super) token: Option<Secret>,
    pub(super) tls: Option<bool>,
    pub(super) root_cas: Vec<String>,
    pub(super) client_cert: String,
    pub(super) client_key: String,
}

impl Login {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let roots = section.texts("root-cas", "a list of files").unwrap_or_default();
        let mut text = |key| section.text(key).unwrap_or_default();
        let texts =
            ["account-name", "user", "key-path", "host-key", "webdav-username", "creds", "username"].map(&mut text);
        let [client_cert, client_key] = ["client-cert", "client-key"].map(&mut text);
        let [account_name, user, key_path, host_key, webdav_username, creds, username] = texts;
        let mut secret = |key| section.secret(key);
        Self {
            account_key: secret("account-key"),
            sas_token: secret("sas-token"),
            password: secret("password"),
            webdav_password: secret("webdav-password"),
            jwt: secret("jwt"),
            seed: secret("seed"),
            nkey: secret("nkey"),
            token: secret("token"),
            tls: section.boolean("tls"),
            root_cas: roots.into_iter().map(|root| root.text.to_owned()).collect(),
            account_name,
            user,
            key_path,
            host_key,
            webdav_username,
            creds,
            username,
            client_cert,
            client_key,
        }
    }

    /// Takes what is not set from the top of the file. `host-key` and `webdav-*` are not inherited in Litestream either.
    pub(crate) fn inherit(&mut self, from: &Self) {
        for (own, default) in [
            (&mut self.account_name, &from.account_name),
            (&mut self.user, &from.user),
            (&mut self.key_path, &from.key_path),
            (&mut self.creds, &from.creds),
            (&mut self.username, &from.username),
            (&mut self.client_cert, &from.client_cert),
            (&mut self.client_key, &from.client_key),
        ] {
            if own.is_empty() {
                own.clone_from(default);
            }
        }
        for (own, default) in [
            (&mut self.account_key, &from.account_key),
            (&mut self.sas_token, &from.sas_token),
            (&mut self.password, &from.password),
            (&mut self.jwt, &from.jwt),
            (&mut self.seed, &from.seed),
            (&mut self.nkey, &from.nkey),
            (&mut self.token, &from.token),
        ] {
            if own.is_none() {
                own.clone_from(default);
            }
        }
        self.tls = self.tls.or(from.tls);
        if self.root_cas.is_empty() {
            self.root_cas.clone_from(&from.root_cas);
        }
    }
}
