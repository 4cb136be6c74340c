//! The routes: which path serves what.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use hyper::body::Body;

use super::answer::{
    Answer, HTML, JSON, OPENMETRICS_1_0, TEXT_0_0_4, YAML, answer, has, not_modified, problem, put, say, tagged,
};
use super::guard::{Guard, Reach};
use super::negotiate::{wants_gzip, wants_openmetrics};
use super::reload::ReloadHandle;
use crate::delivery::asked::{Asked, Made, Problem};
use crate::delivery::render::metrics::Format;
use crate::delivery::render::published::{Published, ReportCell, Representation};
use crate::delivery::render::{api, assets, page};
use crate::domain::limits::{REPORT_AGE_MAX, REQUEST_BODY_BYTES_MAX};
use crate::domain::report::Report;
use crate::usecase::ports::AskedBy;

/// The state that all handlers share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) cell: ReportCell,
    pub(super) reload: ReloadHandle,
    pub(super) guard: Guard,
}

/// One path, or all that differ in their last part.
pub(super) struct Route {
    /// Ends in `{name}` where the last part is a name.
    pub(super) path: &'static str,
    pub(super) methods: &'static str,
    /// Who may have been made to ask for it.
    reach: Reach,
    pub(super) serves: Serves,
}

/// What is served.
#[derive(Clone, Copy)]
pub(super) enum Serves {
    /// The report in the format that Prometheus prefers.
    Metrics,
    /// The whole report, as it is rendered once for all who ask.
    Report,
    /// What pages load.
    Asset,
    /// A page, made for one request.
    Page(Make<Vec<u8>>),
    /// A part of the report as JSON, made for one request, and the parameters that it takes.
    Api(Make<Made>, &'static [&'static str]),
    /// What the API is like, for programs.
    Description,
    Healthy,
    Ready,
    Reload,
}

/// Makes an answer out of a report. It may take its time: it is done where blocking is allowed if the report is large.
pub(super) type Make<T> = fn(&Report, &Asked) -> Result<T, Problem>;

const READ: &str = "GET, HEAD";
const WRITE: &str = "POST, PUT";

const fn read(path: &'static str, reach: Reach, serves: Serves) -> Route {
    Route { path, methods: READ, reach, serves }
}

pub(super) const ROUTES: &[Route] = &[
    read("/", Reach::Browsers, Serves::Page(page::front)),
    read("/databases/{name}", Reach::Browsers, Serves::Page(page::database)),
    read("/runbook", Reach::Browsers, Serves::Page(page::runbook)),
    read("/runbook/{name}", Reach::Browsers, Serves::Page(page::check)),
    read("/static/{name}", Reach::Browsers, Serves::Asset),
    read("/metrics", Reach::Machines, Serves::Metrics),
    read("/api/v1/report", Reach::Browsers, Serves::Report),
    read("/api/v1/databases", Reach::Browsers, Serves::Api(api::databases, api::DATABASES)),
    read("/api/v1/databases/{name}", Reach::Browsers, Serves::Api(api::database, &[])),
    read("/api/v1/checks", Reach::Browsers, Serves::Api(api::checks, api::CHECKS)),
    read("/api/v1/alerts", Reach::Browsers, Serves::Api(api::alerts, api::ALERTS)),
    read("/api/v1/restorable", Reach::Browsers, Serves::Api(api::restorable, api::RESTORABLE)),
    read("/api/v1/history", Reach::Browsers, Serves::Api(api::history, api::HISTORY)),
    read("/api/v1/openapi.yaml", Reach::Browsers, Serves::Description),
    read("/-/healthy", Reach::Machines, Serves::Healthy),
    read("/-/ready", Reach::Machines, Serves::Ready),
    Route { path: "/-/reload", methods: WRITE, reach: Reach::Commands, serves: Serves::Reload },
];

impl Route {
    /// The name in `path`, or "" where this route has none. `None`: it is another path.
    fn name<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some((before, _)) = self.path.split_once('{') else { return (self.path == path).then_some("") };
        path.strip_prefix(before).filter(|name| !name.is_empty() && !name.contains('/'))
    }
}

impl App {
    /// Answers one request of somebody who may ask for so much. Its body is never read: no route has a use for one.
    pub(super) async fn respond<B: Body>(&self, request: &Request<B>, by: AskedBy) -> Answer {
        let path = request.uri().path();
        let Some((route, name)) = ROUTES.iter().find_map(|route| Some((route, route.name(path)?))) else {
            return match path.starts_with("/api/") {
                true => problem(&Problem::not_found("path", path)),
                false => say(StatusCode::NOT_FOUND, "not found; see / for what there is\n"),
            };
        };
        if !route.methods.split(", ").any(|method| method == request.method().as_str()) {
            let mut answer =
                say(StatusCode::METHOD_NOT_ALLOWED, format!("method not allowed; use {}\n", route.methods));
            put(&mut answer, header::ALLOW, route.methods);
            return answer;
        }
        if request.body().size_hint().lower() > REQUEST_BODY_BYTES_MAX as u64 {
            return say(StatusCode::PAYLOAD_TOO_LARGE, "request body too large; send none\n");
        }
        if let Err((status, text)) = self.guard.admit(route.reach, request) {
            return say(status, text);
        }
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let asked = Asked::new(&name, request.uri().query().unwrap_or_default());
        let headers = request.headers();
        match route.serves {
            Serves::Metrics if wants_openmetrics(headers) => {
                self.metrics(Format::OpenMetrics, OPENMETRICS_1_0, headers).await
            }
            Serves::Metrics => self.metrics(Format::Text, TEXT_0_0_4, headers).await,
            Serves::Report => self.report(headers).await.unwrap_or_else(|why| problem(&why)),
            Serves::Asset => asset(&asked).unwrap_or_else(|why| say(why.status, format!("{}\n", why.detail))),
            Serves::Page(make) => self.page((headers, request.uri()), make, asked).await,
            Serves::Api(make, parameters) => {
                let made = match asked.refuse_others(parameters) {
                    Ok(()) => self.made((headers, request.uri()), JSON, make, asked).await,
                    Err(unknown) => Err(unknown),
                };
                made.unwrap_or_else(|why| problem(&why))
            }
            Serves::Description => answer(StatusCode::OK, YAML, api::OPENAPI),
            Serves::Healthy => self.healthy(),
            Serves::Ready => self.ready(),
            Serves::Reload => self.reload(by).await,
        }
    }

    async fn reload(&self, by: AskedBy) -> Answer {
        match self.reload.reload(by).await {
            Some(Ok(())) => say(StatusCode::OK, "configuration reloaded\n"),
            Some(Err(error)) => say(StatusCode::INTERNAL_SERVER_ERROR, format!("reload configuration: {error}\n")),
            None => {
                let mut answer =
                    say(StatusCode::TOO_MANY_REQUESTS, "others are waiting for a reload; try again later\n");
                put(&mut answer, header::RETRY_AFTER, "1");
                answer
            }
        }
    }

    fn healthy(&self) -> Answer {
        if self.cell.is_stale() { stale() } else { say(StatusCode::OK, "streamgauge is healthy\n") }
    }

    fn ready(&self) -> Answer {
        match self.cell.current() {
            _ if self.cell.is_stale() => stale(),
            Some(published) if published.report().assessment.complete => say(StatusCode::OK, "streamgauge is ready\n"),
            _ => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: not every database and replica has been looked at yet\n",
            ),
        }
    }

    /// A page, and a page that says why there is none. What an agent that is stuck knew last is no page of now.
    async fn page(&self, from: (&HeaderMap, &Uri), make: Make<Vec<u8>>, asked: Asked) -> Answer {
        if self.cell.is_stale() {
            let stuck = Problem::new(StatusCode::SERVICE_UNAVAILABLE, stuck());
            return answer(stuck.status, HTML, page::problem(&stuck));
        }
        match self.made(from, HTML, make, asked).await {
            Ok(answer) => answer,
            Err(_) if self.cell.current().is_none() => answer(StatusCode::OK, HTML, page::starting()),
            Err(why) => answer(why.status, HTML, page::problem(&why)),
        }
    }

    /// What is made of the newest report for one request.
    async fn made<T: Into<Made> + 'static>(
        &self,
        (headers, uri): (&HeaderMap, &Uri),
        content_type: &'static str,
        make: Make<T>,
        asked: Asked,
    ) -> Result<Answer, Problem> {
        let published = self.published()?;
        let tag = tag_of(&published, uri);
        if has(headers, &tag) {
            return Ok(not_modified(&tag));
        }
        let gzip = wants_gzip(headers);
        let (body, link) = published.made(gzip, move |report| make(report, &asked).map(Into::into)).await?;
        let mut answer = tagged(packed(answer(StatusCode::OK, content_type, body), gzip), &tag);
        if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
            answer.headers_mut().insert(header::LINK, link);
        }
        Ok(answer)
    }

    /// The newest report as JSON.
    async fn report(&self, headers: &HeaderMap) -> Result<Answer, Problem> {
        let published = self.published()?;
        if has(headers, published.tag()) || has(headers, "*") {
            return Ok(not_modified(published.tag()));
        }
        Ok(tagged(rendered(&published, Representation::Json, JSON, headers).await?, published.tag()))
    }

    /// The newest report for Prometheus, which asks for all of it each time.
    async fn metrics(&self, format: Format, content_type: &'static str, headers: &HeaderMap) -> Answer {
        let rendered = async {
            let published = self.published()?;
            // Rules would go on with what was true once: a scrape that fails is an alert.
            if self.cell.is_stale() {
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, stuck()));
            }
            rendered(&published, Representation::Metrics(format), content_type, headers).await
        };
        match rendered.await {
            Ok(mut answer) => {
                put(&mut answer, header::VARY, "Accept, Accept-Encoding");
                answer
            }
            Err(why) => say(why.status, format!("{}\n", why.detail)),
        }
    }

    fn published(&self) -> Result<std::sync::Arc<Published>, Problem> {
        let early = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no report yet: the agent has just started");
        self.cell.current().ok_or_else(early)
    }
}

/// The entity tag of what is made of a report for one address: whoever has it was answered there.
fn tag_of(published: &Published, uri: &Uri) -> String {
    let mut hasher = DefaultHasher::new();
    uri.path_and_query().hash(&mut hasher);
    format!("{}-{:x}\"", published.tag().trim_end_matches('"'), hasher.finish())
}

/// A report in one representation, compressed for those who take it.
async fn rendered(
    published: &Published,
    what: Representation,
    content_type: &'static str,
    headers: &HeaderMap,
) -> Result<Answer, Problem> {
    let gzip = wants_gzip(headers);
    let failed = |reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}"));
    let body = published.body(what, gzip).await.map_err(failed)?;
    Ok(packed(answer(StatusCode::OK, content_type, body), gzip))
}

/// A file that never changes under its name.
fn asset(asked: &Asked) -> Result<Answer, Problem> {
    let found = assets::asset(&asked.name)?;
    let mut answer = answer(StatusCode::OK, found.content_type, found.content);
    put(&mut answer, header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    Ok(answer)
}

fn packed(mut answer: Answer, gzip: bool) -> Answer {
    if gzip {
        put(&mut answer, header::CONTENT_ENCODING, "gzip");
    }
    answer
}

fn stuck() -> String {
    let minutes = REPORT_AGE_MAX.as_secs() / 60;
    format!("the agent is stuck: no report for {minutes} minutes; restart it")
}

fn stale() -> Answer {
    say(StatusCode::SERVICE_UNAVAILABLE, stuck() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_with_a_name_takes_one_part_of_the_path() {
        let route = read("/databases/{name}", Reach::Browsers, Serves::Ready);
        assert_eq!(route.name("/databases/a%2Fb"), Some("a%2Fb"));
        for other in ["/databases/", "/databases/a/b", "/databases", "/other/a"] {
            assert_eq!(route.name(other), None, "{other}");
        }
    }
}
