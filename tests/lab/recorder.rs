//! An HTTP server that writes down what it is sent, and answers as it is told: well, badly, or never.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// How a [`Recorder`] answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, `200`, with this body.
    Status(u16, String),
    /// An error that repeats what was sent, as servers do.
    Echo,
    /// Not now, and not before so many seconds have passed.
    Later(u64),
    /// Nothing, and the connection stays open.
    Never,
    /// Half an answer, and the connection is closed.
    Half,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The status it was answered with; 0 when it was not.
    pub status: u16,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }
}

struct Shared {
    answer: Mutex<Answer>,
    requests: Mutex<Vec<Recorded>>,
    held: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

pub struct Recorder {
    pub address: String,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Answers everything with 200 until told otherwise.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    pub fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            answer: Mutex::new(Answer::Status(200, String::new())),
            requests: Mutex::default(),
            held: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.over.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else { continue };
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
        self.shared.held.lock().unwrap().clear();
    }

    /// Everything that came so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

/// One request a connection.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(length) if length > 2 => lines.push(line.trim_end().to_owned()),
            Ok(2) => break,
            _ => return,
        }
    }
    let mut words = lines[0].split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let answer = shared.answer.lock().unwrap().clone();
    let sent = |name: &str| headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value.as_str());
    let end: String = body.iter().rev().take(80).rev().map(|byte| char::from(*byte)).collect();
    let answer = match answer {
        Answer::Echo => Answer::Status(500, format!("no {path} for {} with {end}", sent("authorization"))),
        answer => answer,
    };
    let status = match answer {
        Answer::Status(status, _) => status,
        Answer::Later(_) => 503,
        _ => 0,
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    shared.requests.lock().unwrap().push(Recorded { method, path, headers, body, status });
    // Whoever asked may be gone.
    let _ = match answer {
        Answer::Status(status, body) => write!(
            stream,
            "HTTP/1.1 {status} Told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
        // It became a status.
        Answer::Echo => Ok(()),
        Answer::Later(seconds) => write!(
            stream,
            "HTTP/1.1 503 Told\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
        Answer::Half => write!(stream, "HTTP/1.1 200 Told\r\nContent-Length: 1000\r\n\r\nhalf"),
        Answer::Never => {
            shared.held.lock().unwrap().push(stream);
            Ok(())
        }
    };
}
