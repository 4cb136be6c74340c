//! What stores answer, from any bytes: for the fuzz targets and the property tests.

/// Listings of WebDAV and of Azure, where they are built in.
pub fn listings(bytes: &[u8]) {
    #[cfg(feature = "webdav")]
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(members) = super::webdav::multistatus::members(text, "backup/app")
    {
        assert!(members.keys().all(|name| !name.is_empty()), "a member has a name");
    }
    #[cfg(feature = "azure")]
    if let Ok(listing) = super::abs::listing::Listing::read(bytes) {
        for blob in &listing.blobs.blobs {
            let _ = (blob.name.text().len(), blob.size(), blob.modified(), blob.is_directory(), blob.written());
        }
        let _ = (listing.blobs.prefixes.iter().map(|folder| folder.name.text().len()).sum::<usize>(), listing.next());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_break_a_parser(bytes: Vec<u8>, text in "(<|</|/>|>|D:multistatus|D:response|D:href|Blobs|Name|&amp;|&#x0;|]]>|<!\\[CDATA\\[|/|%2[0-9a-f]|a| ){0,40}") {
            listings(&bytes);
            listings(text.as_bytes());
        }
    }
}
