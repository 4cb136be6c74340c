//! A report with its renderings, each made when it is first asked for and at most once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{json, metrics};
use crate::delivery::asked::{Made, Problem};
use crate::domain::limits::{INLINE_RENDER_TARGETS_MAX, REPORT_AGE_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;
use crate::infrastructure::clock;
use crate::usecase::ports::Publisher;

/// The forms in which a whole report is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    OpenMetrics,
    Text,
    Json,
}

/// A report that does not change any more.
#[derive(Debug)]
pub struct Published {
    report: Arc<Report>,
    tag: String,
    plain: [OnceCell<Bytes>; 3],
    gzip: [OnceCell<Bytes>; 3],
    /// Rendering takes so long that it must not keep other connections waiting.
    large: bool,
    /// By the clock that no one sets.
    came: Instant,
}

impl Published {
    /// A report that `number` others came before.
    pub fn new(report: Report, number: u64) -> Self {
        let replicas: usize = report.assessment.databases.iter().map(|database| database.replicas.len()).sum();
        let large = report.assessment.databases.len().saturating_add(replicas) > INLINE_RENDER_TARGETS_MAX;
        let came = clock::timer();
        // Weak, because compressed and plain bytes go by the same tag.
        let tag = format!("W/\"{:x}-{number:x}\"", report.assessment.agent.started_at.as_microsecond());
        Self { report: Arc::new(report), tag, plain: Default::default(), gzip: Default::default(), large, came }
    }

    /// What tells it apart from all others, as an entity tag: when the agent started, and how many reports came before.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    pub fn report(&self) -> &Arc<Report> {
        &self.report
    }

    /// Nothing newer came for so long that the agent cannot be at work any more.
    pub fn is_stale(&self) -> bool {
        clock::timer().duration_since(self.came) > REPORT_AGE_MAX
    }

    /// The bytes of one representation. Whoever asks while they are being made waits for them.
    ///
    /// # Errors
    ///
    /// When the runtime is going down while a large report is rendered.
    pub async fn body(&self, representation: Representation, gzip: bool) -> Result<Bytes, Reason> {
        let index = representation as usize;
        let plain = self.plain[index].get_or_try_init(|| {
            let (report, text) = (Arc::clone(&self.report), representation == Representation::Text);
            async move {
                // The text format is made from OpenMetrics, which another client may have asked for already.
                let openmetrics =
                    if text { self.plain[Representation::OpenMetrics as usize].get().cloned() } else { None };
                self.away(move || render(representation, &report, openmetrics)).await?
            }
        });
        let plain = plain.await?.clone();
        if !gzip {
            return Ok(plain);
        }
        let gzip = self.gzip[index].get_or_try_init(|| async move { self.away(move || compress(&plain)).await? });
        gzip.await.cloned()
    }

    /// What is made of the report for one request, compressed or not, with its `Link`.
    ///
    /// # Errors
    ///
    /// Those of `make`, and when the runtime is going down.
    pub async fn made(
        &self,
        gzip: bool,
        make: impl FnOnce(&Report) -> Result<Made, Problem> + Send + 'static,
    ) -> Result<(Bytes, Option<String>), Problem> {
        let report = Arc::clone(&self.report);
        let failed = |reason: Reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, reason.to_string());
        let making = move || {
            let Made { body, link } = make(&report)?;
            let body = if gzip { compress(&body).map_err(failed)? } else { body.into() };
            Ok((body, link))
        };
        self.away(making).await.map_err(failed)?
    }

    /// Does the work here when it is short, and where blocking is allowed when it is not.
    async fn away<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reason> {
        if !self.large {
            return Ok(work());
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Reason::new(ReasonKind::Failed, format!("render report: {error}")))
    }
}

fn render(what: Representation, report: &Arc<Report>, openmetrics: Option<Bytes>) -> Result<Bytes, Reason> {
    Ok(match what {
        Representation::OpenMetrics => metrics::openmetrics(report).into(),
        Representation::Text => match openmetrics.as_deref().map(std::str::from_utf8) {
            Some(Ok(openmetrics)) => metrics::to_text(openmetrics).into(),
            _ => metrics::to_text(&metrics::openmetrics(report)).into(),
        },
        Representation::Json => json::json(report)?.into(),
    })
}

/// At level 1: higher ones cost seven times as much for a body that is a third smaller.
fn compress(plain: &[u8]) -> Result<Bytes, Reason> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

/// Where the agent puts each report and the faces take the newest.
#[derive(Clone, Debug, Default)]
pub struct ReportCell(Arc<(ArcSwapOption<Published>, AtomicU64)>);

impl Publisher for ReportCell {
    fn publish(&self, report: Report) {
        let (newest, published) = &*self.0;
        let number = published.fetch_add(1, Ordering::Relaxed);
        newest.store(Some(Arc::new(Published::new(report, number))));
    }
}

impl ReportCell {
    /// The newest report; `None` until there is one.
    pub fn current(&self) -> Option<Arc<Published>> {
        self.0.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::domain::report::sample;

    fn decompress(gzip: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(gzip).read_to_end(&mut plain).expect("gzip");
        plain
    }

    #[tokio::test]
    async fn each_representation_is_made_once_and_compresses_to_itself() {
        let published = Published::new(sample::full(), 0);
        for what in [Representation::OpenMetrics, Representation::Text, Representation::Json] {
            let first = published.body(what, false).await.expect("rendered");
            let again = published.body(what, false).await.expect("rendered");
            assert_eq!(first.as_ptr(), again.as_ptr(), "{what:?} was rendered twice");
            let gzip = published.body(what, true).await.expect("compressed");
            assert_eq!(decompress(&gzip), first, "{what:?}");
            assert_eq!(gzip.as_ptr(), published.body(what, true).await.expect("compressed").as_ptr());
        }
    }

    #[tokio::test]
    async fn the_text_does_not_depend_on_what_was_asked_before() {
        let (cold, warm) = (Published::new(sample::full(), 0), Published::new(sample::full(), 0));
        warm.body(Representation::OpenMetrics, false).await.expect("rendered");
        assert_eq!(
            cold.body(Representation::Text, false).await.expect("rendered"),
            warm.body(Representation::Text, false).await.expect("rendered")
        );
    }

    /// On the one thread that also has to serve everybody else.
    #[tokio::test(flavor = "current_thread")]
    async fn those_who_ask_while_a_large_report_is_rendered_get_the_same_bytes() {
        let mut report = sample::full();
        let database = Arc::clone(&report.assessment.databases[0]);
        report.assessment.databases = vec![database; INLINE_RENDER_TARGETS_MAX + 1];
        let published = Arc::new(Published::new(report, 0));
        assert!(published.large);
        let asks = (0..20).map(|_| {
            let published = Arc::clone(&published);
            tokio::spawn(async move { published.body(Representation::Text, true).await })
        });
        let mut pointers: Vec<_> = Vec::new();
        for ask in asks.collect::<Vec<_>>() {
            pointers.push(ask.await.expect("joined").expect("rendered").as_ptr() as usize);
        }
        pointers.dedup();
        assert_eq!(pointers.len(), 1);
    }

    #[test]
    fn the_cell_has_the_newest_report() {
        let cell = ReportCell::default();
        assert!(cell.current().is_none());
        cell.publish(sample::report(Vec::new()));
        assert_eq!(cell.clone().current().expect("published").report().assessment.databases.len(), 0);
        cell.publish(sample::full());
        assert!(!cell.current().expect("published").report().assessment.databases.is_empty());
    }
}
