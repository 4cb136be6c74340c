//! Drills in processes of their own: memory, time and disk that one takes or breaks are not the agent's.
//!
//! The parent makes and removes the scratch directory; the child can be killed at any moment.

pub mod wire;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use self::wire::{Event, Order};
use crate::domain::drill::DrillRecord;
use crate::domain::drill::probe::quoted;
use crate::domain::limits::{DRILL_COMPLAINT_BYTES_MAX, DRILL_OUTPUT_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::clock;
use crate::infrastructure::drill::space::{KeptDirectory, ScratchDirectory, sweep};
use crate::infrastructure::store::StoreOptions;
use crate::usecase::drill::inconclusive;
use crate::usecase::ports::{DrillEstimate, DrillJob, DrillNews, DrillRunner};

/// The hidden subcommand that the child is started with.
pub const WORKER_COMMAND: &str = "drill-worker";

/// Who made a record.
pub const PROGRAM: &str = concat!("streamgauge ", env!("CARGO_PKG_VERSION"));

/// So much before its timeout a drill ends itself, with a record of what it has found; then it is killed.
pub const TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

/// Runs drills as children of this process.
pub struct ProcessDrills {
    program: PathBuf,
    scratch: PathBuf,
    stores: StoreOptions,
    news: Option<Arc<dyn DrillNews>>,
}

/// The directories of one drill, which are given up when it ends, and when it is cancelled.
struct Places(Option<(ScratchDirectory, Option<KeptDirectory>)>);

impl Drop for Places {
    fn drop(&mut self) {
        let Some((scratch, kept)) = self.0.take() else { return };
        let give_up = move || {
            drop(scratch);
            if let Some(kept) = kept {
                kept.settle();
            }
        };
        // Removing a large file takes its time.
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(give_up),
            _ => give_up(),
        }
    }
}

impl ProcessDrills {
    /// With the `streamgauge` program, the directory below which each drill has a private one, and how to open replicas.
    ///
    /// Creates the runner, and removes what earlier processes left in the scratch space.
    pub fn new(program: PathBuf, scratch: PathBuf, stores: StoreOptions) -> Self {
        let swept = sweep(&scratch);
        if swept > 0 {
            tracing::info!(scratch = %scratch.display(), swept, "removed what killed drills left behind");
        }
        Self { program, scratch, stores, news: None }
    }

    /// Tells `news` how drills go on.
    #[must_use]
    pub fn with_news(self, news: Arc<dyn DrillNews>) -> Self {
        Self { news: Some(news), ..self }
    }

    async fn attempt(&self, job: &DrillJob, seen: &Mutex<Seen>) -> Result<DrillRecord, Reason> {
        let (scratch, kept) = self.places(job).await?;
        let copy = kept.as_ref().map(|kept| (kept.path().to_owned(), identity(job)));
        let directory = scratch.path().to_owned();
        let _places = Places(Some((scratch, kept)));
        let order = Order { directory, kept: copy, stores: self.stores.clone(), job: job.clone() };
        let order = serde_json::to_vec(&order)
            .map_err(|error| Reason::new(ReasonKind::Misconfigured, format!("describe the drill: {error}")))?;
        match tokio::time::timeout(job.policy.timeout, self.run(order, seen)).await {
            Ok(ran) => ran,
            Err(_) => {
                let seconds = job.policy.timeout.as_secs_f64();
                Err(Reason::new(ReasonKind::Timeout, format!("the drill was killed after its timeout of {seconds} s")))
            }
        }
    }

    /// Makes or finds the directories of one drill, and locks them.
    async fn places(&self, job: &DrillJob) -> Result<(ScratchDirectory, Option<KeptDirectory>), Reason> {
        let (scratch, identity, keeps) = (self.scratch.clone(), identity(job), job.policy.full_every > 1);
        blocking(move || {
            let own = ScratchDirectory::create(&scratch)?;
            let kept = if keeps {
                KeptDirectory::open(&scratch, &identity)
            } else {
                KeptDirectory::remove(&scratch, &identity);
                None
            };
            Ok((own, kept))
        })
        .await
    }

    /// Starts the child, gives it its order and listens until it ends.
    async fn run(&self, order: Vec<u8>, seen: &Mutex<Seen>) -> Result<DrillRecord, Reason> {
        let mut worker = Worker::start(&self.program)?;
        let complaints = tokio::spawn(complaints(worker.child.stderr.take()));
        let sent = worker.send(&order).await;
        drop(order);
        let record = match worker.output.take() {
            Some(output) => self.listen(output, seen).await,
            None => Ok(None),
        };
        if let Ok(Some(record)) = record {
            // It has said everything; what it may still do is end, which is waited for so that it is nobody's orphan.
            let _ = tokio::time::timeout(TIMEOUT_MARGIN, worker.child.wait()).await;
            return Ok(record);
        }
        if record.is_err() {
            worker.kill();
        }
        let status = worker.child.wait().await.map_err(|error| Reason::from(error).context("wait for the drill"))?;
        let complaint = complaints.await.unwrap_or_default();
        record?;
        Err(ended(status, &complaint, sent.err()))
    }

    /// Passes news on until the record comes.
    async fn listen(&self, output: ChildStdout, seen: &Mutex<Seen>) -> Result<Option<DrillRecord>, Reason> {
        let mut lines = BufReader::new(output.take(DRILL_OUTPUT_BYTES_MAX)).lines();
        let failed = |error: std::io::Error| Reason::from(error).context("read what the drill says");
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            // The last line of a killed child is cut off; its status says more.
            let Ok(event) = serde_json::from_str(&line) else { return Ok(None) };
            seen.lock().unwrap_or_else(PoisonError::into_inner).note(&event);
            match (event, &self.news) {
                (Event::Done(record), _) => return Ok(Some(*record)),
                (Event::Received(bytes), Some(news)) => news.received(bytes),
                (Event::Planned(estimate), Some(news)) => news.planned(&estimate),
                (Event::Step(name), Some(news)) => news.step(&name),
                (_, None) => {}
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl DrillRunner for ProcessDrills {
    async fn drill(&self, job: DrillJob) -> DrillRecord {
        let started_at = clock::wall();
        let seen = Mutex::new(Seen::default());
        match self.attempt(&job, &seen).await {
            Ok(record) => record,
            Err(reason) => {
                let record = inconclusive(&job, PROGRAM, started_at, clock::wall(), reason);
                seen.into_inner().unwrap_or_else(PoisonError::into_inner).complete(&job, record)
            }
        }
    }
}

/// The progress of a child that ended without a record: its downloads were paid for all the same.
#[derive(Default)]
struct Seen {
    estimate: Option<DrillEstimate>,
    received: u64,
}

impl Seen {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Planned(estimate) => self.estimate = Some(estimate.clone()),
            Event::Received(bytes) => self.received = self.received.saturating_add(*bytes),
            Event::Step(_) | Event::Done(_) => {}
        }
    }

    fn complete(self, job: &DrillJob, record: DrillRecord) -> DrillRecord {
        let (estimated_dollars, incremental) =
            self.estimate.map_or((0.0, false), |estimate| (estimate.dollars, estimate.incremental));
        let dollars = job.replica.location.prices(&job.policy.prices).dollars(0, 0, self.received);
        DrillRecord { estimated_dollars, incremental, dollars, downloaded_bytes: self.received, ..record }
    }
}

/// The identity of a kept copy.
fn identity(job: &DrillJob) -> String {
    format!("{}\n{}\n{}", job.database, job.replica.name, job.replica.location.identity())
}

/// The child. Dropping it ends it, with whatever it has started.
struct Worker {
    child: Child,
    /// Held open: its end tells the child that this process is gone.
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
}

impl Worker {
    fn start(program: &std::path::Path) -> Result<Self, Reason> {
        let mut command = Command::new(program);
        command.arg(WORKER_COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is for the parent, and what the child starts is killed with it. The child dies with
        // the thread that starts it, too: this one is the main thread or one of the runtime's, which live as long.
        let spawned = command.process_group(0).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|error| Reason::from(error).context(format!("start {}", program.display())))?;
        Ok(Self { input: child.stdin.take(), output: child.stdout.take(), child })
    }

    async fn send(&mut self, order: &[u8]) -> Result<(), Reason> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let write = async {
            input.write_all(order).await?;
            input.write_all(b"\n").await?;
            input.flush().await
        };
        write.await.map_err(|error| Reason::from(error).context("tell the drill what to do"))
    }

    fn kill(&self) {
        // No id: it has ended and was waited for, and the number may be somebody else's by now.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of what the child wrote to standard error.
async fn complaints(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let (mut tail, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..count]);
        let surplus = tail.len().saturating_sub(DRILL_COMPLAINT_BYTES_MAX);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail).into_owned()
}

/// Why a child ended without a record.
fn ended(status: ExitStatus, complaint: &str, sent: Option<Reason>) -> Reason {
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let memory = "raise drill.memory, or check less at once";
    match status.signal() {
        Some(signal) if signal == Signal::ABORT.as_raw() && complaint.contains("memory allocation") => {
            Reason::new(ReasonKind::Failed, "the drill's process used all the memory that it may use").with_hint(memory)
        }
        Some(signal) if signal == Signal::KILL.as_raw() => {
            Reason::new(ReasonKind::Failed, "the drill's process was killed")
                .with_hint("did the machine run out of memory?")
        }
        Some(signal) => Reason::new(
            ReasonKind::Failed,
            format!("the drill's process was ended by signal {signal}: {}", quoted(last)),
        ),
        None => match sent {
            Some(reason) if last.is_empty() => reason,
            _ => {
                Reason::new(ReasonKind::Failed, format!("the drill's process ended without a result: {}", quoted(last)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drill::DrillPolicy;
    use crate::domain::target::{ReplicaLocation, ReplicaTarget, S3Location, TargetName};

    #[test]
    fn a_kept_copy_belongs_to_one_place() {
        let at = |endpoint: &str| DrillJob {
            database: TargetName("db".into()),
            files: None,
            replica: ReplicaTarget {
                name: "s3".into(),
                location: ReplicaLocation::S3(Box::new(S3Location {
                    bucket: "b".into(),
                    path: "p".into(),
                    endpoint: Some(endpoint.into()),
                    ..S3Location::default()
                })),
                sync_interval: Duration::from_secs(1),
                encrypted: false,
                age_identities: Vec::new(),
                kept: None,
                written: Default::default(),
            },
            policy: DrillPolicy::default(),
            full: false,
        };
        assert_eq!(identity(&at("http://one")), identity(&at("http://one")));
        assert_ne!(identity(&at("http://one")), identity(&at("http://two")));
    }

    #[test]
    fn ends_are_explained() {
        let status = |raw: i32| ExitStatus::from_raw(raw);
        let say = |raw, complaint: &str| ended(status(raw), complaint, None).message;
        assert_eq!(say(9, ""), "the drill's process was killed");
        assert_eq!(
            say(6, "x\nmemory allocation of 9 bytes failed\n"),
            "the drill's process used all the memory that it may use"
        );
        assert_eq!(say(7, ""), "the drill's process was ended by signal 7: ");
        assert_eq!(say(101 << 8, "thread panicked\n\n"), "the drill's process ended without a result: thread panicked");
        let sent = Reason::new(ReasonKind::Failed, "broken pipe");
        assert_eq!(ended(status(0), "", Some(sent)).message, "broken pipe");
    }

    #[tokio::test]
    async fn a_complaint_keeps_its_end() {
        let text = format!("{}the end", "x".repeat(100_000));
        let kept = complaints(Some(text.as_bytes())).await;
        assert!(kept.len() <= DRILL_COMPLAINT_BYTES_MAX && kept.ends_with("the end"));
    }
}
