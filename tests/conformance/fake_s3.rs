//! A small HTTP server that answers as it is told, and one that makes up an S3 listing of any length.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A server that stops when it is dropped.
pub(crate) struct FakeServer {
    pub(crate) port: u16,
    requests: Arc<AtomicU64>,
    accepting: AbortHandle,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FakeServer {
    /// Answers every request with `answer`, which may take its time.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, requests) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
        let counted = requests.clone();
        let accept = async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (answer, counted) = (answer.clone(), counted.clone());
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        };
        Self { port, requests, accepting: tokio::spawn(accept).abort_handle() }
    }

    /// A bucket with `objects` keys below `app/0000/`, named as TXIDs are.
    pub(crate) async fn bucket(objects: u64) -> Self {
        Self::start(move |request| {
            let start_after = parameter(&request, "start-after");
            let first = start_after.and_then(|key| {
                let txid = u64::from_str_radix(key.rsplit_once('-')?.1.get(..16)?, 16).ok()?;
                // What is cut short comes before the key itself.
                Some(txid + u64::from(key.ends_with(".ltx")))
            });
            let first = first.unwrap_or(1);
            let last = objects.min(first + 999);
            let listed: Vec<_> = (first..=last).map(|txid| (format!("app/{}", ltx(txid)), 4096)).collect();
            async move { xml(&listing(&listed, last < objects)) }
        })
        .await
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The key of a level-0 file.
pub(crate) fn ltx(txid: u64) -> String {
    format!("0000/{txid:016x}-{txid:016x}.ltx")
}

/// A query parameter with its escapes undone.
pub(crate) fn parameter(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace("%2F", "/"))
}

pub(crate) fn listing(objects: &[(String, i64)], truncated: bool) -> String {
    let mut xml = String::with_capacity(objects.len() * 340 + 300);
    xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>");
    xml.push_str(&format!("<Name>bkt</Name><MaxKeys>1000</MaxKeys><IsTruncated>{truncated}</IsTruncated>"));
    for (key, size) in objects {
        xml.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-22T08:49:25.390Z</LastModified>\
             <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>{size}</Size>\
             <Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        ));
    }
    xml.push_str("</ListBucketResult>");
    xml
}

pub(crate) fn xml(body: &str) -> Answer {
    answer(200, body)
}

pub(crate) fn answer(status: u16, body: &str) -> Answer {
    let answer = Response::builder().status(status).header("content-type", "application/xml");
    answer.body(Full::from(body.to_owned())).unwrap()
}
