//! A server that speaks as much of NATS as the agent needs, and answers as a test says.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use streamgauge::domain::places::NatsLocation;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::BUCKET;

/// An answer to a request: headers (perhaps with a status) and a payload.
pub(super) struct Message {
    pub(super) headers: String,
    pub(super) payload: Vec<u8>,
}

/// What a request with a subject and a payload gets; `None`: the connection is closed.
type Answers = dyn Fn(&str, &[u8]) -> Option<Vec<Message>> + Send + Sync;

pub(super) struct Fake {
    pub(super) port: u16,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Fake {
    pub(super) async fn start(
        version: &'static str,
        answers: impl Fn(&str, &[u8]) -> Option<Vec<Message>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, connections): (Arc<Answers>, Arc<AtomicUsize>) = (Arc::new(answers), Arc::default());
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, version, answers.clone()));
            }
        });
        Self { port, connections }
    }

    pub(super) fn place(&self) -> NatsLocation {
        NatsLocation {
            server: format!("127.0.0.1:{}", self.port),
            bucket: BUCKET.to_owned(),
            ..NatsLocation::default()
        }
    }
}

async fn serve(stream: TcpStream, version: &str, answers: Arc<Answers>) {
    let mut stream = BufReader::new(stream);
    let info = format!(
        "INFO {{\"server_id\":\"x\",\"version\":\"{version}\",\"headers\":true,\"max_payload\":1048576,\"proto\":1,\
         \"host\":\"127.0.0.1\",\"port\":4222,\"go\":\"go1.20\",\"server_name\":\"x\"}}\r\n"
    );
    stream.get_mut().write_all(info.as_bytes()).await.unwrap();
    let (mut line, mut subscribed) = (String::new(), HashMap::new());
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => stream.get_mut().write_all(b"PONG\r\n").await.unwrap(),
            ["SUB", subject, id] => drop(subscribed.insert(subject.trim_end_matches('*').to_owned(), id.to_owned())),
            ["PUB", subject, reply, length] => {
                let mut payload = vec![0; length.parse::<usize>().unwrap() + 2];
                stream.read_exact(&mut payload).await.unwrap();
                let Some(messages) = answers(subject, &payload) else { return };
                let id = subscribed.iter().find(|(inbox, _)| reply.starts_with(*inbox)).unwrap().1;
                for Message { headers, payload } in messages {
                    let headers = format!("NATS/1.0{headers}\r\n\r\n");
                    let (head, all) = (headers.len(), headers.len() + payload.len());
                    let answer = format!("HMSG {reply} {id} {head} {all}\r\n{headers}");
                    let answer = [answer.as_bytes(), &payload, b"\r\n"].concat();
                    if stream.get_mut().write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
            _ => {}
        }
        line.clear();
    }
}

/// The state of a stream with messages up to a sequence.
pub(super) fn stream(last: u64) -> Vec<Message> {
    let payload = format!(
        r#"{{"config":{{"allow_direct":true}},"created":"2026-01-01T00:00:00Z","state":{{"first_seq":1,"last_seq":{last}}}}}"#
    );
    vec![Message { headers: String::new(), payload: payload.into_bytes() }]
}

/// A message of a stream.
pub(super) fn stored(sequence: u64, subject: &str, payload: &str, more: &str) -> Message {
    let headers = format!(
        "\r\nNats-Subject: {subject}\r\nNats-Sequence: {sequence}\r\nNats-Time-Stamp: 2026-01-01T00:00:00Z{more}"
    );
    Message { headers, payload: payload.as_bytes().to_vec() }
}

pub(super) fn status(status: &str, more: &str) -> Message {
    Message { headers: format!(" {status}{more}"), payload: Vec::new() }
}
