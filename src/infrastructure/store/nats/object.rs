//! The description of an object, as clients of NATS write it: JSON in a message whose subject holds the name in base64.

use std::collections::HashMap;

use async_nats::Message;
use aws_smithy_types::base64;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::link::{Link, text};
use crate::domain::litestream::Dated;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::checked::corrupt;

/// The header in which Litestream writes its own time.
const WRITTEN_AT: &str = "litestream-timestamp";

/// What is needed of a description.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// The token in the subject of its chunks.
    pub(super) nuid: String,
    pub(super) size: u64,
    pub(super) chunks: u64,
    /// SHA-256 of the content.
    pub(super) digest: Option<Vec<u8>>,
    pub(super) written_at: Option<Timestamp>,
}

/// As it is written.
#[derive(Deserialize)]
struct Description {
    name: String,
    #[serde(default)]
    nuid: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    chunks: u64,
    digest: Option<String>,
    #[serde(default)]
    deleted: bool,
    headers: Option<HashMap<String, Vec<String>>>,
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    link: Option<IgnoredAny>,
}

impl Object {
    /// Reads a description; `None` for one that says that the object is gone. The error says why nobody can read it.
    pub(super) fn parse(name: &str, description: &[u8]) -> Result<Option<Self>, Reason> {
        let described: Description = serde_json::from_slice(description)
            .map_err(|_| corrupt("an object whose description cannot be understood".to_owned()))?;
        if described.name != name {
            return Err(corrupt("an object that is described by another name".to_owned()));
        }
        if described.deleted {
            return Ok(None);
        }
        if described.options.is_some_and(|options| options.link.is_some()) {
            return Err(Reason::new(ReasonKind::Unsupported, "a link to another object, which is not followed"));
        }
        let is_token = !described.nuid.is_empty() && described.nuid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_token {
            return Err(corrupt("an object whose chunks have no name".to_owned()));
        }
        let digest = described.digest.as_deref().and_then(|digest| digest.strip_prefix("SHA-256="));
        let header = |(name, values): (&String, &Vec<String>)| {
            let value = values.first().filter(|_| name.eq_ignore_ascii_case(WRITTEN_AT))?;
            value.parse::<Timestamp>().ok()
        };
        Ok(Some(Self {
            nuid: described.nuid,
            size: described.size,
            chunks: described.chunks,
            digest: digest.and_then(decoded),
            written_at: described.headers.iter().flatten().find_map(header),
        }))
    }

    /// Asks for an object by its name, and when the store got it.
    pub(super) async fn find(link: &Link, bucket: &str, name: &str) -> Result<Option<(Self, Timestamp)>, Reason> {
        let Some(message) = link.last(bucket, &subject(bucket, name)).await? else { return Ok(None) };
        let stored_at = stored_at(&message)?;
        Ok(Self::parse(name, &message.payload)?.map(|object| (object, stored_at)))
    }

    /// Its time in a listing. A time of last modification is not written: clients that read take the message's.
    pub(super) fn dated(&self, stored_at: Timestamp) -> Dated {
        self.written_at.map_or(Dated::Uploaded(stored_at), Dated::Written)
    }
}

/// When the server got a message.
pub(super) fn stored_at(message: &Message) -> Result<Timestamp, Reason> {
    let at = text(message, "Nats-Time-Stamp").and_then(|at| at.parse().ok());
    at.ok_or_else(|| corrupt("a message without a time".to_owned()))
}

/// The subject of an object's description.
pub(super) fn subject(bucket: &str, name: &str) -> String {
    format!("$O.{bucket}.M.{}", encoded(name.as_bytes()))
}

/// The name in the subject of a description; `None` where no client would have written it.
pub(super) fn name(bucket: &str, subject: &str) -> Option<String> {
    let token = subject.strip_prefix("$O.")?.strip_prefix(bucket)?.strip_prefix(".M.")?;
    String::from_utf8(decoded(token)?).ok()
}

/// Base64 with the alphabet of URLs, with padding.
pub(super) fn encoded(bytes: &[u8]) -> String {
    base64::encode(bytes).replace('+', "-").replace('/', "_")
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    base64::decode(text.replace('-', "+").replace('_', "/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_subject() {
        for name in ["ltx/0/7", "ä→😀?>", "", "a b"] {
            assert_eq!(super::name("bkt", &subject("bkt", name)).as_deref(), Some(name));
        }
        assert_eq!(subject("bkt", "ltx/0/7"), "$O.bkt.M.bHR4LzAvNw==");
        for odd in ["$O.bkt.M.no-base64!", "$O.bkt.M._w==", "$O.other.M.bHR4", "$O.bkt.C.bHR4"] {
            assert_eq!(super::name("bkt", odd), None, "{odd}");
        }
    }

    #[test]
    fn a_description_is_believed_as_far_as_it_makes_sense() {
        let told = |text: &str| match Object::parse("n", text.as_bytes()) {
            Ok(found) => format!("{found:?}"),
            Err(reason) => format!("{}: {reason}", reason.kind.as_str()),
        };
        let of_litestream = r#"{"name":"n","headers":{"Litestream-Timestamp":["2026-11-22T08:49:25.39Z"]},
            "options":{"max_chunk_size":131072},"bucket":"b","nuid":"abc","size":3,"mtime":"0001-01-01T00:00:00Z",
            "chunks":1,"digest":"SHA-256=AQ=="}"#;
        let expected = "Some(Object { nuid: \"abc\", size: 3, chunks: 1, digest: Some([1]), written_at: \
                        Some(2026-11-22T08:49:25.39Z) })";
        assert_eq!(told(of_litestream), expected);
        assert_eq!(told(r#"{"name":"n","nuid":"x","deleted":true}"#), "None");
        let cannot = "corrupt: an object whose description cannot be understood";
        for text in ["", "[]", "{}", r#"{"name":"n","size":-1}"#] {
            assert_eq!(told(text), cannot, "{text}");
        }
        for nuid in ["", "a.b", "*", ">"] {
            for size in [0, 1] {
                let refused = told(&format!(r#"{{"name":"n","nuid":"{nuid}","size":{size}}}"#));
                assert_eq!(refused, "corrupt: an object whose chunks have no name");
            }
        }
        assert_eq!(told(r#"{"name":"m"}"#), "corrupt: an object that is described by another name");
        let link = r#"{"name":"n","options":{"link":{"bucket":"other"}}}"#;
        assert_eq!(told(link), "unsupported: a link to another object, which is not followed");
    }
}
