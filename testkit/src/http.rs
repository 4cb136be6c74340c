//! An HTTP/1.1 server that answers as it is told: well, badly, or never.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// What is behind the question mark.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A parameter of the query, with its slashes.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let value = self.query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.replace("%2F", "/"))
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What is answered. A test may change all of it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What is said of the body's length; `None`: it ends where the connection does.
    pub length: Option<usize>,
    /// Nothing is said, and the connection stays open.
    pub silent: bool,
    /// The rest of the body.
    file: Option<Part>,
}

/// So many bytes of a file.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    from: u64,
    length: u64,
}

impl Part {
    fn open(&self) -> io::Result<io::Take<File>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        Ok(file.take(self.length))
    }
}

impl Answer {
    /// An answer that is as it should be.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let (length, headers) = (Some(body.len()), vec![("Content-Type", content_type.to_owned())]);
        Self { status, headers, body, length, silent: false, file: None }
    }

    /// As S3 answers.
    pub fn xml(status: u16, body: &str) -> Self {
        Self::new(status, "application/xml", body)
    }

    /// So many bytes of a file, which are read as they are sent.
    pub fn of_file(status: u16, path: &Path, from: u64, length: u64) -> Self {
        let file = Some(Part { path: path.to_owned(), from, length });
        Self { length: Some(length as usize), file, ..Self::new(status, "application/octet-stream", Vec::new()) }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With all of its body in memory, where it can be changed.
    #[must_use]
    pub fn whole(mut self) -> Self {
        if let Some(mut file) = self.file.take().and_then(|part| part.open().ok()) {
            // What cannot be read is missing, which the length tells.
            let _ = file.read_to_end(&mut self.body);
        }
        self
    }

    /// Sends it; `None` when the connection ends with it.
    fn send(&self, mut client: &TcpStream, body: bool) -> Option<()> {
        let mut head = format!("HTTP/1.1 {} Told\r\n", self.status);
        self.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        match self.length {
            Some(length) => head.push_str(&format!("Content-Length: {length}\r\n\r\n")),
            None => head.push_str("Connection: close\r\n\r\n"),
        }
        client.write_all(head.as_bytes()).ok()?;
        if !body {
            return Some(());
        }
        client.write_all(&self.body).ok()?;
        let streamed = match &self.file {
            Some(part) => io::copy(&mut part.open().ok()?, &mut client).ok()?,
            None => 0,
        };
        (self.length? as u64 == self.body.len() as u64 + streamed).then_some(())
    }
}

/// What each request is answered with.
type Answers = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server on this machine, which ends when it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Server {
    /// Answers all requests with `answer`, which may take its time, on a port that is free.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (requests, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (Arc::clone(&requests), Arc::clone(&over));
        let answer: Arc<Answers> = Arc::new(answer);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (answer, counted, ended) = (Arc::clone(&answer), Arc::clone(&counted), Arc::clone(&ended));
                // A client that goes away is no concern of the server.
                thread::spawn(move || talk(&client, &*answer, &counted, &ended));
            }
        });
        Ok(Self { address, requests, over })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn talk(client: &TcpStream, answer: &Answers, requests: &AtomicU64, over: &AtomicBool) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(client);
    while let Some(request) = read(&mut reader).filter(|_| !over.load(Ordering::Relaxed)) {
        requests.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&request);
        if answer.silent {
            // Until the client gives up.
            let _ = io::copy(&mut reader, &mut io::sink());
            return None;
        }
        answer.send(client, request.method != "HEAD")?;
    }
    None
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut request = Request { method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|count| *count > 0)?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body).ok()?;
    Some(request)
}
