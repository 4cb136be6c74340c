//! The kinds of stores, and what follows from each wherever a store is.

use serde::Serialize;

use super::litestream::LevelKeys;

words! {
    /// The kinds of stores that Litestream knows: the closed set of the `store` label, in the order of their names.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum StoreKind {
        Abs = "abs",
        #[default]
        File = "file",
        Gs = "gs",
        Nats = "nats",
        Oss = "oss",
        S3 = "s3",
        Sftp = "sftp",
        WebDav = "webdav",
    }
}

impl StoreKind {
    /// An object is known to appear whole there, or not at all. Litestream writes files under their final names on SFTP and
    /// WebDAV servers.
    pub fn is_atomic(self) -> bool {
        match self {
            Self::S3 | Self::Gs | Self::Abs | Self::Oss | Self::Nats => true,
            Self::File | Self::Sftp | Self::WebDav => false,
        }
    }

    /// How Litestream v0.5 calls levels there.
    pub fn level_keys(self) -> LevelKeys {
        match self {
            Self::S3 | Self::Oss => LevelKeys::Hex,
            Self::Abs | Self::File | Self::Gs | Self::Nats | Self::Sftp | Self::WebDav => LevelKeys::Plain,
        }
    }
}
