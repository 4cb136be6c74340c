//! The least S3 server that Litestream and we restore from: one replica's files, served as fast as a socket takes them.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// Serves a folder whose files are the objects of every bucket, by their keys. Runs until the process ends.
pub(crate) fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = Arc::new(folder);
    thread::spawn(move || {
        for client in listener.incoming() {
            let folder = Arc::clone(&folder);
            // A client that goes away is no concern of the server.
            thread::spawn(move || talk(&client.unwrap(), &folder));
        }
    });
    port
}

fn talk(client: &TcpStream, folder: &Path) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(client);
    loop {
        let (mut line, mut range) = (String::new(), None);
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            let (name, value) = header.split_once(':')?;
            if name.eq_ignore_ascii_case("range") {
                range = value.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')).map(owned);
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (_, key) = path.strip_prefix('/')?.split_once('/').unwrap_or((path, ""));
        if key.is_empty() {
            list(client, folder, query)?;
        } else {
            object(client, &folder.join(key), method == "GET", range)?;
        }
    }
}

fn owned((from, to): (&str, &str)) -> (u64, u64) {
    (from.parse().unwrap(), to.parse().unwrap_or(u64::MAX))
}

fn object(mut client: &TcpStream, path: &Path, body: bool, range: Option<(u64, u64)>) -> Option<()> {
    let Ok(mut file) = File::open(path) else {
        let text = "<Error><Code>NoSuchKey</Code></Error>";
        let length = text.len();
        return write!(client, "HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{text}").ok();
    };
    let size = file.metadata().ok()?.len();
    let (from, to) = range.unwrap_or((0, u64::MAX));
    let to = to.min(size - 1);
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let length = to + 1 - from;
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Range: bytes {from}-{to}/{size}\r\nETag: \"0\"\r\n\
         Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT\r\nAccept-Ranges: bytes\r\n\r\n"
    )
    .ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    if body {
        std::io::copy(&mut file.take(length), &mut client).ok()?;
    }
    Some(())
}

/// All keys of a prefix on one page, or the folders below it.
fn list(mut client: &TcpStream, folder: &Path, query: &str) -> Option<()> {
    let wanted = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.replace("%2F", "/")).unwrap_or_default()
    };
    let (prefix, after) = (wanted("prefix"), wanted("start-after"));
    let mut keys = Vec::new();
    walk(folder, folder, &mut keys);
    keys.sort();
    let mut text = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
    let mut folders: Vec<&str> = Vec::new();
    for (key, size) in keys.iter().filter(|(key, _)| key.starts_with(&prefix) && *key > after) {
        match key[prefix.len()..].split_once('/').filter(|_| !wanted("delimiter").is_empty()) {
            Some((name, _)) => folders.push(&key[..prefix.len() + name.len() + 1]),
            None => text.push_str(&format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"0\"</ETag>\
                 <LastModified>2026-11-22T08:00:00.000Z</LastModified></Contents>"
            )),
        }
    }
    folders.dedup();
    folders.iter().for_each(|name| {
        text.push_str(&format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"));
    });
    text.push_str("</ListBucketResult>");
    let length = text.len();
    write!(client, "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{text}").ok()
}

fn walk(root: &Path, folder: &Path, keys: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = fs::metadata(entry.path()).unwrap();
        if metadata.is_dir() {
            walk(root, &entry.path(), keys);
        } else {
            let path = entry.path();
            keys.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), metadata.len()));
        }
    }
}
