//! A string that is never printed.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A credential: its `Debug` output is redacted, it has no `Display` and no `Serialize`: see [`exposed`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text, for the one place that hands it to a client library.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// For `#[serde(with = "exposed")]` on what is only ever written to the standard input of a process of our own.
pub mod exposed {
    use super::*;

    pub fn serialize<T: Secrets, S: Serializer>(secrets: &T, serializer: S) -> Result<S::Ok, S::Error> {
        secrets.all().iter().map(Secret::expose).collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, T: Secrets, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        T::from_all(texts.into_iter().map(Secret::new).collect()).ok_or_else(|| D::Error::custom("no secret"))
    }
}

/// One secret, perhaps one, or several.
pub trait Secrets: Sized {
    fn all(&self) -> &[Secret];

    fn from_all(secrets: Vec<Secret>) -> Option<Self>;
}

impl Secrets for Secret {
    fn all(&self) -> &[Secret] {
        std::slice::from_ref(self)
    }

    fn from_all(mut secrets: Vec<Secret>) -> Option<Self> {
        secrets.pop()
    }
}

impl Secrets for Option<Secret> {
    fn all(&self) -> &[Secret] {
        self.as_slice()
    }

    fn from_all(mut secrets: Vec<Secret>) -> Option<Self> {
        Some(secrets.pop())
    }
}

impl Secrets for Vec<Secret> {
    fn all(&self) -> &[Secret] {
        self
    }

    fn from_all(secrets: Vec<Secret>) -> Option<Self> {
        Some(secrets)
    }
}
