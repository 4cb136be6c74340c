//! The routes: which path serves what.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;

use super::guard::{Guard, Reach};
use super::negotiate::{wants_gzip, wants_openmetrics};
use super::reload::ReloadHandle;
use crate::delivery::render::page::page;
use crate::delivery::render::published::{ReportCell, Representation};
use crate::delivery::render::runbook::PAGE as RUNBOOK_PAGE;
use crate::domain::limits::{REPORT_AGE_MAX, REQUEST_BODY_BYTES_MAX};

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT_0_0_4: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS_1_0: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The state that all handlers share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) cell: ReportCell,
    pub(super) reload: ReloadHandle,
    pub(super) guard: Guard,
}

type Answer = Response<Full<Bytes>>;

/// What is served.
#[derive(Clone, Copy)]
enum Route {
    Page,
    Runbook,
    Metrics,
    Report,
    Healthy,
    Ready,
    Reload,
}

const READ: &str = "GET, HEAD";
const WRITE: &str = "POST, PUT";

/// Where it is, with which methods, and who may have been made to ask for it.
const ROUTES: [(&str, Route, &str, Reach); 7] = [
    ("/", Route::Page, READ, Reach::Browsers),
    ("/runbook", Route::Runbook, READ, Reach::Browsers),
    ("/metrics", Route::Metrics, READ, Reach::Machines),
    ("/api/v1/report", Route::Report, READ, Reach::Browsers),
    ("/-/healthy", Route::Healthy, READ, Reach::Machines),
    ("/-/ready", Route::Ready, READ, Reach::Machines),
    ("/-/reload", Route::Reload, WRITE, Reach::Commands),
];

impl App {
    /// Answers one request. Its body is never read: no route has a use for one.
    pub(super) async fn respond<B: Body>(&self, request: &Request<B>) -> Answer {
        let asked = |(path, ..): &(&str, Route, &str, Reach)| *path == request.uri().path();
        let Some((_, route, methods, reach)) = ROUTES.into_iter().find(asked) else {
            return say(StatusCode::NOT_FOUND, "not found; see / for what there is\n");
        };
        if !methods.split(", ").any(|method| method == request.method().as_str()) {
            let mut answer = say(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed; use {methods}\n"));
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
            return answer;
        }
        if request.body().size_hint().lower() > REQUEST_BODY_BYTES_MAX as u64 {
            return say(StatusCode::PAYLOAD_TOO_LARGE, "request body too large; send none\n");
        }
        if let Err((status, text)) = self.guard.admit(reach, request) {
            return say(status, text);
        }
        let headers = request.headers();
        match route {
            Route::Page => self.page(headers).await,
            Route::Runbook => confined(answer(StatusCode::OK, HTML, RUNBOOK_PAGE.as_bytes())),
            Route::Metrics if wants_openmetrics(headers) => {
                self.rendered(Representation::OpenMetrics, OPENMETRICS_1_0, headers).await
            }
            Route::Metrics => self.rendered(Representation::Text, TEXT_0_0_4, headers).await,
            Route::Report => self.rendered(Representation::Json, JSON, headers).await,
            Route::Healthy => self.healthy(),
            Route::Ready => self.ready(),
            Route::Reload => match self.reload.reload().await {
                Some(Ok(())) => say(StatusCode::OK, "configuration reloaded\n"),
                Some(Err(error)) => say(StatusCode::INTERNAL_SERVER_ERROR, format!("reload configuration: {error}\n")),
                None => {
                    let mut answer =
                        say(StatusCode::TOO_MANY_REQUESTS, "others are waiting for a reload; try again later\n");
                    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                    answer
                }
            },
        }
    }

    fn healthy(&self) -> Answer {
        match self.cell.current() {
            Some(published) if published.is_stale() => stale(),
            _ => say(StatusCode::OK, "streamgauge is healthy\n"),
        }
    }

    fn ready(&self) -> Answer {
        match self.cell.current() {
            Some(published) if published.is_stale() => stale(),
            Some(published) if published.report().assessment.complete => say(StatusCode::OK, "streamgauge is ready\n"),
            _ => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: not every database and replica has been looked at yet\n",
            ),
        }
    }

    async fn page(&self, headers: &HeaderMap) -> Answer {
        confined(match self.cell.current() {
            Some(_) => self.rendered(Representation::Page, HTML, headers).await,
            None => answer(StatusCode::OK, HTML, page(None)),
        })
    }

    /// The newest report in one representation, compressed for those who take it.
    async fn rendered(&self, what: Representation, content_type: &'static str, headers: &HeaderMap) -> Answer {
        let Some(published) = self.cell.current() else {
            return say(StatusCode::SERVICE_UNAVAILABLE, "no report yet: the agent has just started\n");
        };
        let gzip = wants_gzip(headers);
        let mut answer = match published.body(what, gzip).await {
            Ok(body) => answer(StatusCode::OK, content_type, body),
            Err(reason) => return say(StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")),
        };
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// A page that loads nothing, sends nothing and is shown in no other page.
fn confined(mut page: Answer) -> Answer {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    page
}

fn stale() -> Answer {
    let minutes = REPORT_AGE_MAX.as_secs() / 60;
    say(StatusCode::SERVICE_UNAVAILABLE, format!("the agent is stuck: no report for {minutes} minutes; restart it\n"))
}

fn say(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    answer(status, PLAIN, text)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, content_type),
        // Each report replaces the one before it: an old one must not be taken for the state of now.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    answer.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}
