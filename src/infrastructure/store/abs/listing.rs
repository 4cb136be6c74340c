//! What Azure answers when it is asked for blobs.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;

use crate::domain::reason::Reason;
use crate::infrastructure::http::document::{cut, is_cut};
use crate::infrastructure::percent;
use crate::infrastructure::store::checked::corrupt;

/// Where Litestream v0.5 keeps its own time.
const TIMESTAMP: &str = "litestreamtimestamp";

/// One page.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listing {
    pub(crate) blobs: Blobs,
    next_marker: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Blobs {
    #[serde(rename = "Blob", default)]
    pub(crate) blobs: Vec<Blob>,
    #[serde(rename = "BlobPrefix", default)]
    pub(crate) prefixes: Vec<Folder>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Folder {
    pub(crate) name: Name,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Blob {
    pub(crate) name: Name,
    properties: Properties,
    metadata: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    size: Option<String>,
    #[serde(rename = "Last-Modified")]
    modified: Option<String>,
    #[serde(rename = "ResourceType")]
    kind: Option<String>,
}

/// A name, with escapes where it has characters that XML has not.
#[derive(Deserialize)]
pub(crate) struct Name {
    #[serde(rename = "@Encoded", default)]
    is_escaped: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

impl Name {
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self.is_escaped {
            true => Cow::Owned(String::from_utf8_lossy(&percent::decoded(&self.text).0).into_owned()),
            false => Cow::Borrowed(&self.text),
        }
    }
}

impl Listing {
    /// # Errors
    ///
    /// What is no listing, and what is not all of one.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Reason> {
        let text = std::str::from_utf8(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
        if is_cut(body) {
            return Err(cut("a document without its end"));
        }
        let read = text.ok().and_then(|text| quick_xml::de::from_str(text).ok());
        read.ok_or_else(|| corrupt("not a listing of blobs".to_owned()))
    }

    /// Where the next page begins.
    pub(crate) fn next(self) -> Option<String> {
        self.next_marker.filter(|marker| !marker.is_empty())
    }
}

impl Blob {
    pub(crate) fn size(&self) -> Option<u64> {
        self.properties.size.as_ref()?.parse().ok()
    }

    pub(crate) fn modified(&self) -> Option<Timestamp> {
        DateTimeParser::new().parse_timestamp(self.properties.modified.as_ref()?).ok()
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.properties.kind.as_deref() == Some("directory")
    }

    /// Litestream's own time. Names of metadata have the case that a client gave them.
    pub(crate) fn written(&self) -> Option<&str> {
        let found = self.metadata.as_ref()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(TIMESTAMP));
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a\"><Prefix>p/</Prefix>\
        <Blobs><BlobPrefix><Name>p/a/</Name></BlobPrefix><Blob><Name Encoded=\"true\">p/%EF%BF%BE</Name><Properties><Content-Length>7\
        </Content-Length><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified></Properties><Metadata><Litestreamtimestamp>\
        2026-11-22T08:49:25.39Z</Litestreamtimestamp><Other /></Metadata></Blob><BlobPrefix><Name>p/z&amp;/</Name></BlobPrefix></Blobs>\
        <NextMarker>2!x</NextMarker></EnumerationResults>";

    #[test]
    fn a_page_is_read_with_all_that_azure_puts_into_it() {
        let page = Listing::read(PAGE.as_bytes()).unwrap();
        let [blob] = &page.blobs.blobs[..] else { panic!() };
        assert_eq!((&*blob.name.text(), blob.size()), ("p/\u{fffe}", Some(7)));
        assert_eq!(blob.modified(), Timestamp::from_second(784_111_777).ok());
        assert_eq!(blob.written(), Some("2026-11-22T08:49:25.39Z"));
        let folders: Vec<_> = page.blobs.prefixes.iter().map(|folder| folder.name.text()).collect();
        assert_eq!(folders, ["p/a/", "p/z&/"]);
        assert_eq!(page.next().as_deref(), Some("2!x"));
        let last = PAGE.replace("<NextMarker>2!x</NextMarker>", "<NextMarker />");
        assert_eq!(Listing::read(last.as_bytes()).unwrap().next(), None);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let nested =
            format!("<EnumerationResults>{}{}</EnumerationResults>", "<a>".repeat(100_000), "</a>".repeat(100_000));
        for (body, expected) in [
            ("", "corrupt"),
            ("<", "corrupt"),
            ("<Error><Code>x</Code></Error>", "corrupt"),
            ("<ListBucketResult></ListBucketResult>", "corrupt"),
            (&nested, "corrupt"),
            (&PAGE[..PAGE.len() - 30], "unreachable"),
        ] {
            assert_eq!(Listing::read(body.as_bytes()).err().unwrap().kind.as_str(), expected, "{body:.40}");
        }
    }
}
