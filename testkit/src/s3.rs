//! An S3 server whose objects are files: what a bucket truly answers, for a test to make something else of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::http::{Answer, Request, Server};
use crate::ltx;

/// Keys on one page of a listing.
const PAGE_KEYS: usize = 1000;

/// Everything was written at this time.
const MODIFIED: &str = "Sun, 22 Nov 2026 08:49:25 GMT";

/// Serves the files of `folder` as the objects of every bucket, by their keys, to everybody.
pub fn serve(folder: PathBuf) -> io::Result<Server> {
    Server::start(move |request| answer(&folder, request))
}

/// Serves a listing that is made up: so many level-0 files of 4096 bytes below `app/0000/`.
pub fn serve_made_up(files: u64) -> io::Result<Server> {
    Server::start(move |request| {
        let first = request.parameter("start-after").and_then(|key| {
            let txid = u64::from_str_radix(key.rsplit_once('-')?.1.get(..16)?, 16).ok()?;
            // What is cut short comes before the key itself.
            Some(txid + u64::from(key.ends_with(".ltx")))
        });
        let first = first.unwrap_or(1);
        let last = files.min(first + PAGE_KEYS as u64 - 1);
        let listed: Vec<_> = (first..=last).map(|txid| (format!("app/0000/{}", ltx::name(txid, txid)), 4096)).collect();
        Answer::xml(200, &listing(&listed, last < files))
    })
}

/// The key of an object; `None` for a question about the bucket.
pub fn key(request: &Request) -> Option<&str> {
    let (_, key) = request.path().strip_prefix('/')?.split_once('/')?;
    (!key.is_empty()).then_some(key)
}

/// It asks what there is.
pub fn is_listing(request: &Request) -> bool {
    key(request).is_none() && request.query().contains("list-type=2")
}

/// The truth.
pub fn answer(folder: &Path, request: &Request) -> Answer {
    match key(request) {
        Some(key) => object(&folder.join(key), request.header("range").and_then(range)),
        None => list(folder, request).unwrap_or_else(|error| Answer::xml(500, &error.to_string())),
    }
}

/// The first and the last byte of `bytes=1-2` or `bytes=1-`.
fn range(header: &str) -> Option<(u64, u64)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().unwrap_or(u64::MAX)))
}

fn object(path: &Path, range: Option<(u64, u64)>) -> Answer {
    let Ok(size) = fs::metadata(path).map(|metadata| metadata.len()) else {
        return Answer::xml(404, "<Error><Code>NoSuchKey</Code></Error>");
    };
    let (from, to) = range.unwrap_or((0, u64::MAX));
    if range.is_some() && from >= size {
        return Answer::xml(416, "<Error><Code>InvalidRange</Code></Error>");
    }
    let end = to.saturating_add(1).min(size);
    let answer = Answer::of_file(if range.is_some() { 206 } else { 200 }, path, from, end.saturating_sub(from))
        .with("ETag", "\"0\"")
        .with("Last-Modified", MODIFIED)
        .with("Accept-Ranges", "bytes");
    match range {
        Some(_) => answer.with("Content-Range", &format!("bytes {from}-{}/{size}", end.saturating_sub(1))),
        None => answer,
    }
}

/// A page of the keys of a prefix, and the folders below it.
fn list(folder: &Path, request: &Request) -> io::Result<Answer> {
    let parameter = |name| request.parameter(name).unwrap_or_default();
    let (prefix, delimiter) = (parameter("prefix"), parameter("delimiter"));
    let after = parameter("start-after").max(parameter("continuation-token"));
    let mut keys = Vec::new();
    let top = prefix.rsplit_once('/').map_or_else(|| folder.to_owned(), |(top, _)| folder.join(top));
    if top.is_dir() {
        walk(folder, &top, &mut keys)?;
    }
    keys.sort();
    let (mut objects, mut folders, mut truncated) = (Vec::new(), Vec::new(), false);
    for (key, size) in keys.into_iter().filter(|(key, _)| key.starts_with(&prefix) && *key > after) {
        match key[prefix.len()..].split_once('/').filter(|_| !delimiter.is_empty()) {
            Some((name, _)) => folders.push(format!("{prefix}{name}/")),
            None if objects.len() < PAGE_KEYS => objects.push((key, size)),
            None => truncated = true,
        }
    }
    folders.dedup();
    Ok(Answer::xml(200, &page(&objects, &folders, truncated)))
}

fn walk(root: &Path, folder: &Path, keys: &mut Vec<(String, i64)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, keys)?;
        } else {
            let key = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            keys.push((key, fs::metadata(&path)?.len().cast_signed()));
        }
    }
    Ok(())
}

/// One page of a listing: keys with their sizes, and whether there are more.
pub fn listing(objects: &[(String, i64)], truncated: bool) -> String {
    page(objects, &[], truncated)
}

fn page(objects: &[(String, i64)], folders: &[String], truncated: bool) -> String {
    let mut xml = String::with_capacity(objects.len() * 340 + 300);
    xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>");
    xml.push_str(&format!("<Name>bkt</Name><MaxKeys>{PAGE_KEYS}</MaxKeys><IsTruncated>{truncated}</IsTruncated>"));
    if let Some((last, _)) = objects.last().filter(|_| truncated) {
        xml.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
    }
    for (key, size) in objects {
        xml.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-22T08:49:25.390Z</LastModified>\
             <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>{size}</Size>\
             <Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        ));
    }
    for folder in folders {
        xml.push_str(&format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
    }
    xml.push_str("</ListBucketResult>");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(folder: &Path, target: &str) -> String {
        let request = Request { method: "GET".into(), target: target.into(), headers: Vec::new(), body: Vec::new() };
        let answer = answer(folder, &request).whole();
        String::from_utf8(answer.body).unwrap()
    }

    #[test]
    fn pages_follow_each_other_without_a_key_lost() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        for number in 0..1500 {
            fs::write(folder.path().join(format!("app/{number:04}")), "").unwrap();
        }
        let first = asked(folder.path(), "/bkt?list-type=2&prefix=app%2F");
        assert_eq!(first.matches("<Key>").count(), PAGE_KEYS);
        let (_, token) = first.split_once("<NextContinuationToken>").unwrap();
        let token = token.split('<').next().unwrap();
        let second = asked(folder.path(), &format!("/bkt?list-type=2&prefix=app/&continuation-token={token}"));
        assert_eq!((second.matches("<Key>").count(), second.contains("<Key>app/1000</Key>")), (500, true));
        assert!(second.contains("<IsTruncated>false</IsTruncated>"));
        let folders = asked(folder.path(), "/bkt?list-type=2&prefix=&delimiter=%2F");
        assert!(folders.contains("<Prefix>app/</Prefix>") && !folders.contains("<Key>"), "{folders}");
    }
}
