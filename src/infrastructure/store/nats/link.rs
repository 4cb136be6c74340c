//! One connection, and the questions that are asked through it. None of them can hang: when the connection breaks or the
//! server refuses, whoever waits is told.

use std::sync::Arc;

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use super::failure;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::infrastructure::http::clocks::Clocks;
use crate::infrastructure::scrub::Scrub;
use crate::infrastructure::store::checked::corrupt;

/// The end of a batch, and a message that is not there.
const END: u16 = 204;
const NOT_FOUND: u16 = 404;

/// A request for messages of a stream (`$JS.API.DIRECT.GET`).
#[derive(Default, Serialize)]
pub(super) struct Get<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_bytes: Option<usize>,
}

/// What is needed of `$JS.API.STREAM.INFO`.
#[derive(Deserialize)]
pub(super) struct Stream {
    pub(super) created: Timestamp,
    pub(super) state: StreamState,
    config: StreamConfig,
    /// The server's time.
    ts: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

#[derive(Deserialize)]
struct StreamConfig {
    #[serde(default)]
    allow_direct: bool,
}

/// An answer of the API that is none.
#[derive(Deserialize)]
struct Refused {
    error: failure::ApiError,
}

/// A connection that works, or did.
pub(super) struct Link {
    pub(super) client: Client,
    /// Host and port.
    pub(super) server: String,
    /// Why the connection is not to be used any more.
    pub(super) broken: watch::Receiver<Option<Reason>>,
    /// Errors that the server says of no request in particular.
    pub(super) errors: broadcast::Sender<String>,
    pub(super) scrub: Scrub,
    pub(super) clocks: Arc<Clocks>,
}

impl Link {
    /// Why it is not to be used any more, if it is not.
    pub(super) fn broken(&self) -> Option<Reason> {
        self.broken.borrow().clone()
    }

    /// The state of a bucket's stream.
    pub(super) async fn stream(&self, bucket: &str) -> Result<Stream, Reason> {
        let sent = clock::wall();
        let answer = self.ask(&format!("$JS.API.STREAM.INFO.OBJ_{bucket}"), None, Bytes::new()).await?;
        let answer = answer.ok_or_else(failure::no_jetstream)?;
        let stream: Stream = self.answer(&answer, bucket)?;
        if let Some(date) = stream.ts {
            self.clocks.note(&self.server, date, sent, clock::wall());
        }
        Ok(stream)
    }

    /// The last message with a subject.
    pub(super) async fn last(&self, bucket: &str, subject: &str) -> Result<Option<Message>, Reason> {
        let get = Get { last_by_subj: Some(subject), ..Get::default() };
        let Some(message) = self.ask(&direct(bucket), None, written(&get)).await? else {
            return Err(self.why_nobody(bucket).await);
        };
        match message.status.map(|status| status.as_u16()) {
            None => Ok(Some(message)),
            Some(NOT_FOUND) => Ok(None),
            Some(_) => Err(failure::status(&message, &self.scrub)),
        }
    }

    /// Several messages, each as it comes; how many more there are.
    pub(super) async fn batch(
        &self,
        bucket: &str,
        get: &Get<'_>,
        mut each: impl FnMut(Message) -> Result<(), Reason> + Send,
    ) -> Result<u64, Reason> {
        let subject = direct(bucket);
        let answers = async {
            let inbox = self.client.new_inbox();
            let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| failure::sending(&error))?;
            let asked = self.client.publish_with_reply(subject.clone(), inbox, written(get)).await;
            asked.map_err(|error| failure::sending(&error))?;
            while let Some(message) = answers.next().await {
                match message.status.map(|status| status.as_u16()) {
                    None if number(&message, "Nats-Num-Pending").is_none() => return Err(self.too_old()),
                    None => each(message)?,
                    Some(END) => return Ok(number(&message, "Nats-Num-Pending")),
                    Some(NOT_FOUND) => return Ok(Some(0)),
                    Some(_) if message.status == Some(StatusCode::NO_RESPONDERS) => return Ok(None),
                    Some(_) => return Err(failure::status(&message, &self.scrub)),
                }
            }
            Err(failure::broke())
        };
        match self.guarded(&subject, answers).await? {
            Some(pending) => Ok(pending),
            None => Err(self.why_nobody(bucket).await),
        }
    }

    /// A request with one answer; `None` when nobody answers such requests.
    pub(super) async fn ask(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Option<Message>, Reason> {
        let request = headers.into_iter().fold(Request::new().payload(payload), Request::headers);
        let answer = async {
            match self.client.send_request(subject.to_owned(), request).await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
                Err(error) => Err(failure::sending(&error)),
            }
        };
        self.guarded(subject, answer).await
    }

    /// An answer in JSON, or what it refuses.
    pub(super) fn answer<T: for<'a> Deserialize<'a>>(&self, message: &Message, bucket: &str) -> Result<T, Reason> {
        if let Ok(Refused { error }) = serde_json::from_slice(&message.payload) {
            return Err(failure::refused(&error, bucket, &self.scrub));
        }
        serde_json::from_slice(&message.payload)
            .map_err(|_| corrupt("an answer that is not one of JetStream".to_owned()))
    }

    /// Waits for an answer, or for what says that there will be none.
    async fn guarded<T>(&self, subject: &str, answer: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
        let (mut errors, mut broken) = (self.errors.subscribe(), self.broken.clone());
        let refused = async {
            loop {
                match errors.recv().await {
                    Ok(text) => match failure::violation(&text, subject) {
                        Some(reason) => return reason,
                        None => continue,
                    },
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            reason = refused => Err(reason),
            _ = broken.wait_for(Option::is_some) => Err(self.broken().unwrap_or_else(failure::broke)),
        }
    }

    /// Why nobody answers for a bucket's messages: its stream says.
    async fn why_nobody(&self, bucket: &str) -> Reason {
        match self.stream(bucket).await {
            Err(reason) => reason,
            Ok(stream) if !stream.config.allow_direct => failure::no_direct(bucket),
            Ok(_) => Reason::new(ReasonKind::Unreachable, "no server answers for the bucket's stream"),
        }
    }

    /// The server answers with one message where several are asked for.
    fn too_old(&self) -> Reason {
        let version = self.scrub.clean(&self.client.server_info().version);
        Reason::new(ReasonKind::Unsupported, format!("nats-server {version} cannot list an object store"))
            .with_hint("upgrade nats-server to 2.11 or later")
    }
}

fn direct(bucket: &str) -> String {
    format!("$JS.API.DIRECT.GET.OBJ_{bucket}")
}

fn written(get: &Get<'_>) -> Bytes {
    // Numbers and texts always serialize.
    serde_json::to_vec(get).unwrap_or_default().into()
}

/// A header that the server sets behind those that the writer of the message may have set.
pub(super) fn text<'a>(message: &'a Message, header: &'static str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get_last(header)?.as_str())
}

pub(super) fn number(message: &Message, header: &'static str) -> Option<u64> {
    text(message, header)?.parse().ok()
}
