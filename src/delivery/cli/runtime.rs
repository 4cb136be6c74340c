//! The threads on which a command does what it does, and the signals to which it listens.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::domain::reason::Reason;

/// Threads for looks at replicas and for scrapes. The databases have one of their own.
const WORKERS: usize = 2;

/// How long a thread that read files waits for more to do. The allocator keeps memory for each one that lives: with the
/// usual ten seconds a hundred of them hold twice what the agent needs.
const THREAD_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Runs `future` on the threads that agent and server share. A read that hangs in the kernel, such as on a dead network
/// mount, is not waited for when it is done.
///
/// # Errors
///
/// When the threads cannot be started.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Reason> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(WORKERS).thread_keep_alive(THREAD_KEEP_ALIVE).enable_all().build();
    let runtime = built.map_err(|error| Reason::from(error).context("start the runtime"))?;
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(done)
}

/// How many threads can work at the same time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Signals that the process no longer dies of.
pub struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// # Errors
    ///
    /// When the system refuses.
    pub fn listen(kinds: impl IntoIterator<Item = SignalKind>) -> Result<Self, Reason> {
        let heard = kinds.into_iter().map(|kind| Ok((kind, signal(kind)?)));
        heard
            .collect::<std::io::Result<_>>()
            .map(Self)
            .map_err(|error| Reason::from(error).context("listen for signals"))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> SignalKind {
        poll_fn(|cx| {
            let mut came =
                self.0.iter_mut().filter_map(|(kind, signal)| signal.poll_recv(cx).is_ready().then_some(*kind));
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
