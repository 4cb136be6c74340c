//! An S3 server that serves a folder, and tells the truth about it or makes something else of each answer.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What was asked for.
pub(crate) struct Request {
    /// Path and query.
    target: String,
    range: Option<(u64, u64)>,
}

impl Request {
    /// The key of an object; `None` for a question about the bucket.
    pub(crate) fn key(&self) -> Option<&str> {
        let path = self.target.split('?').next()?;
        let (_, key) = path.strip_prefix('/')?.split_once('/')?;
        (!key.is_empty()).then_some(key)
    }

    /// It asks what there is.
    pub(crate) fn is_listing(&self) -> bool {
        self.key().is_none() && self.target.contains("list-type=2")
    }

    pub(crate) fn parameter(&self, name: &str) -> String {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.replace("%2F", "/")).unwrap_or_default()
    }
}

/// What is answered.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// What is said of the body's length; `None`: it ends where the connection does.
    pub(crate) length: Option<usize>,
    /// Nothing is said, and the connection stays open.
    pub(crate) silent: bool,
}

impl Answer {
    pub(crate) fn new(status: &'static str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let (length, headers) = (Some(body.len()), vec![("Content-Type", content_type.to_owned())]);
        Self { status, headers, body, length, silent: false }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Makes something else of a true answer.
pub(crate) type Lie = fn(&Request, Answer) -> Answer;

pub(crate) struct Server {
    pub(crate) port: u16,
    lying: Arc<AtomicBool>,
}

impl Server {
    /// Serves the files of `folder` as the objects of every bucket, by their keys. Runs until the process ends.
    pub(crate) fn start(folder: PathBuf, lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let lying = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&lying);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (folder, lying) = (folder.clone(), Arc::clone(&told));
                // A client that goes away is no concern of the server.
                thread::spawn(move || talk(&client.unwrap(), &folder, lie, &lying));
            }
        });
        Self { port, lying }
    }

    /// Tells the truth from now on.
    pub(crate) fn repent(&self) {
        self.lying.store(false, Ordering::Relaxed);
    }
}

fn talk(mut client: &TcpStream, folder: &Path, lie: Lie, lying: &AtomicBool) -> Option<()> {
    let mut reader = BufReader::new(client);
    while let Some(request) = read(&mut reader) {
        let mut answer = honest(folder, &request);
        if lying.load(Ordering::Relaxed) {
            answer = lie(&request, answer);
        }
        if answer.silent {
            while lying.load(Ordering::Relaxed) {
                thread::sleep(std::time::Duration::from_millis(50));
            }
            return None;
        }
        let mut head = format!("HTTP/1.1 {}\r\n", answer.status);
        answer.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        match answer.length {
            Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
            None => head.push_str("Connection: close\r\n\r\n"),
        }
        client.write_all(head.as_bytes()).ok()?;
        client.write_all(&answer.body).ok()?;
        if answer.length != Some(answer.body.len()) {
            return None;
        }
    }
    None
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let (mut line, mut range) = (String::new(), None);
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            return Some(Request { target, range });
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("range") {
            let (from, to) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
            range = Some((from.parse().ok()?, to.parse().unwrap_or(u64::MAX)));
        }
    }
}

fn honest(folder: &Path, request: &Request) -> Answer {
    let Some(key) = request.key() else { return list(folder, request) };
    let Ok(content) = fs::read(folder.join(key)) else {
        return Answer::new("404 Not Found", "application/xml", "<Error><Code>NoSuchKey</Code></Error>");
    };
    let size = content.len() as u64;
    let (from, to) = request.range.unwrap_or((0, u64::MAX));
    if from >= size {
        return Answer::new("416 Range Not Satisfiable", "application/xml", "<Error><Code>InvalidRange</Code></Error>");
    }
    let to = to.min(size - 1);
    Answer::new("206 Partial Content", "application/octet-stream", &content[from as usize..=to as usize])
        .with("Content-Range", &format!("bytes {from}-{to}/{size}"))
        .with("Last-Modified", "Sun, 22 Nov 2026 08:00:00 GMT")
}

/// All keys of a prefix on one page, or the folders below it.
fn list(folder: &Path, request: &Request) -> Answer {
    let (prefix, after) = (request.parameter("prefix"), request.parameter("start-after"));
    let mut keys = Vec::new();
    walk(folder, folder, &mut keys);
    keys.sort();
    let mut text = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
    let mut folders: Vec<&str> = Vec::new();
    for (key, size) in keys.iter().filter(|(key, _)| key.starts_with(&prefix) && *key > after) {
        match key[prefix.len()..].split_once('/').filter(|_| !request.parameter("delimiter").is_empty()) {
            Some((name, _)) => folders.push(&key[..prefix.len() + name.len() + 1]),
            None => text.push_str(&object(key, *size)),
        }
    }
    folders.dedup();
    for name in folders {
        text.push_str(&format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"));
    }
    text.push_str("</ListBucketResult>");
    Answer::new("200 OK", "application/xml", text)
}

pub(crate) fn object(key: &str, size: u64) -> String {
    format!(
        "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"0\"</ETag>\
         <LastModified>2026-11-22T08:00:00.000Z</LastModified></Contents>"
    )
}

fn walk(root: &Path, folder: &Path, keys: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, keys);
        } else {
            let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            keys.push((key, fs::metadata(&path).unwrap().len()));
        }
    }
}
