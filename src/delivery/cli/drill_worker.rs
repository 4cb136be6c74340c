//! The process of one drill: takes an order from standard input, makes itself small, and tells what comes of it on standard output.

use std::io::{BufRead, BufReader, Read, Stdout, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::runtime::cores;
use crate::domain::limits::{DRILL_JOB_BYTES_MAX, DRILL_MEMORY_HEADROOM, DRILL_OVERTIME};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock::{self, SystemClock};
use crate::infrastructure::database::LiveFiles;
use crate::infrastructure::drill::process::wire::{Event, Order};
use crate::infrastructure::drill::process::{PROGRAM, TIMEOUT_MARGIN};
use crate::infrastructure::drill::space::Space;
use crate::infrastructure::store::Stores;
use crate::usecase::drill::{DrillParts, run_drill};
use crate::usecase::ports::{DrillEstimate, DrillNews, LiveDatabase, Progress};
use crate::usecase::restore::RestoreOptions;

/// The lowest priority.
const NICENESS: i32 = 19;

/// Parts of objects that are read at the same time.
const DOWNLOADS: usize = 8;

/// Threads on which calls may block.
const BLOCKING_THREADS: usize = 32;

/// Between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the drill that standard input orders.
///
/// # Errors
///
/// When there is no order or the runtime cannot be started. How the drill ends is written to standard output.
pub fn main() -> Result<ExitCode, Reason> {
    let failed =
        |doing: &'static str| move |error: rustix::io::Errno| Reason::from(std::io::Error::from(error)).context(doing);
    // Before any thread is started: a thread's priority is its own, and it gets that of the one that starts it.
    nice(NICENESS).map_err(failed("lower the priority"))?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("follow the parent"))?;
    limit(Resource::Core, 0)?;
    let mut input = BufReader::new(std::io::stdin());
    let mut line = Vec::new();
    let read = (&mut input).take(DRILL_JOB_BYTES_MAX).read_until(b'\n', &mut line);
    read.map_err(|error| Reason::from(error).context("read the job"))?;
    let order: Order = serde_json::from_slice(&line)
        // The error would quote the job, and a job has credentials.
        .map_err(|error| Reason::new(ReasonKind::Corrupt, format!("read the job: byte {}", error.column())))?;
    std::thread::spawn(move || {
        // The parent holds the other end as long as it lives, and says no more.
        let _ = std::io::copy(&mut input, &mut std::io::sink());
        std::process::exit(1);
    });
    let overdue = order.job.policy.timeout.saturating_add(DRILL_OVERTIME);
    std::thread::spawn(move || {
        // The parent ends it earlier, unless it is stopped itself.
        std::thread::sleep(overdue);
        std::process::exit(1);
    });
    let Order { directory, kept, stores, job } = order;
    limit(Resource::Data, job.policy.memory_max.saturating_add(DRILL_MEMORY_HEADROOM))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Reason::from(error).context("start the runtime"))?;
    let output = Arc::new(Output::new());
    let live = job.files.as_ref().map(|files| Arc::new(LiveFiles::new(files)) as Arc<dyn LiveDatabase>);
    let parts = DrillParts {
        clock: Arc::new(SystemClock::start()),
        stores: Arc::new(Stores::new(stores)),
        space: Arc::new(Space::new(&directory, kept, job.policy.memory_max / 2)?),
        live,
        news: Arc::clone(&output) as Arc<dyn DrillNews>,
        options: RestoreOptions {
            downloads: DOWNLOADS,
            threads: cores(),
            identities: job.replica.age_identities.clone(),
        },
        program: PROGRAM.to_owned(),
        timeout: job.policy.timeout.saturating_sub(TIMEOUT_MARGIN.min(job.policy.timeout / 10)),
    };
    let record = runtime.block_on(async {
        // With a handler, a file that would grow too large is a failed write and not the end of the process.
        let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
        run_drill(parts, job).await
    });
    runtime.shutdown_background();
    output.write(&Event::Done(Box::new(record)))?;
    Ok(ExitCode::SUCCESS)
}

/// Lowers a limit, which a limit from outside may already have done.
fn limit(resource: Resource, bytes: u64) -> Result<(), Reason> {
    let maximum = getrlimit(resource).maximum;
    let bytes = Some(maximum.map_or(bytes, |maximum| maximum.min(bytes)));
    setrlimit(resource, Rlimit { current: bytes, maximum: bytes })
        .map_err(|error| Reason::from(std::io::Error::from(error)).context("limit the drill's process"))
}

/// Standard output, a line for each event.
struct Output(Mutex<State>);

struct State {
    out: Stdout,
    received: u64,
    said: Instant,
}

impl State {
    fn write(&mut self, event: &Event) -> Result<(), Reason> {
        let mut line = serde_json::to_vec(event)
            .map_err(|error| Reason::new(ReasonKind::Failed, format!("write the record: {error}")))?;
        line.push(b'\n');
        let written = self.out.write_all(&line).and_then(|()| self.out.flush());
        written.map_err(|error| Reason::from(error).context("write the record"))
    }

    fn say_received(&mut self) -> Result<(), Reason> {
        self.said = clock::monotonic();
        match std::mem::take(&mut self.received) {
            0 => Ok(()),
            bytes => self.write(&Event::Received(bytes)),
        }
    }
}

impl Output {
    fn new() -> Self {
        Self(Mutex::new(State { out: std::io::stdout(), received: 0, said: clock::monotonic() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, event: &Event) -> Result<(), Reason> {
        let mut state = self.state();
        state.say_received()?;
        state.write(event)
    }
}

impl Progress for Output {
    fn received(&self, bytes: u64) {
        let mut state = self.state();
        state.received = state.received.saturating_add(bytes);
        if clock::monotonic().duration_since(state.said) >= PROGRESS_INTERVAL {
            // A parent that is gone ends this process by itself.
            let _ = state.say_received();
        }
    }
}

impl DrillNews for Output {
    fn planned(&self, estimate: &DrillEstimate) {
        let _ = self.write(&Event::Planned(estimate.clone()));
    }

    fn step(&self, name: &str) {
        let _ = self.write(&Event::Step(name.to_owned()));
    }
}
