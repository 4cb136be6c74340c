//! The way of a reload request from the HTTP server to the agent and of the answer back.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::domain::limits::{RELOAD_PAUSE_MIN, RELOAD_TIMEOUT, RELOADS_WAITING_MAX};
use crate::infrastructure::clock;
use crate::usecase::ports::AskedBy;
use crate::usecase::watch::ReloadRequest;

/// After a reload the next one is put off for so many times as long as it took: whoever asks without end takes a quarter
/// of one thread.
const PAUSE: u32 = 3;

/// Asks the agent to read its configuration again.
#[derive(Clone, Debug)]
pub struct ReloadHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: mpsc::Sender<ReloadRequest>,
    /// The last one of strangers; locked while one is asked for.
    last: Mutex<Option<Done>>,
    /// For those that wait, who may go away before they are answered.
    places: Semaphore,
}

/// A reload that has ended.
#[derive(Debug)]
struct Done {
    began: Instant,
    /// When another one may begin.
    next: Instant,
    answer: Result<(), String>,
}

/// The agent's end: each request is answered once, with why the new configuration was refused or with nothing.
pub type ReloadRequests = mpsc::Receiver<ReloadRequest>;

impl ReloadHandle {
    /// A handle and the agent's end of it. One request waits while another is worked on.
    pub fn new() -> (Self, ReloadRequests) {
        let (sender, receiver) = mpsc::channel(1);
        let places = Semaphore::new(RELOADS_WAITING_MAX);
        (Self(Arc::new(Inner { requests: sender, last: Mutex::default(), places })), receiver)
    }

    /// Waits for the agent's answer, at most [`RELOAD_TIMEOUT`]. The owner waits for nobody else. All others who ask before a
    /// reload begins share its answer. `None`: so many wait already that another one would learn nothing.
    pub async fn reload(&self, by: AskedBy) -> Option<Result<(), String>> {
        let late = |_| Err(format!("the agent did not answer within {} seconds", RELOAD_TIMEOUT.as_secs()));
        if by == AskedBy::Owner {
            return Some(timeout(RELOAD_TIMEOUT, self.ask(by)).await.unwrap_or_else(late));
        }
        let _place = self.0.places.try_acquire().ok()?;
        Some(timeout(RELOAD_TIMEOUT, self.shared(by)).await.unwrap_or_else(late))
    }

    async fn shared(&self, by: AskedBy) -> Result<(), String> {
        let asked = clock::timer();
        let mut last = self.0.last.lock().await;
        if let Some(done) = &*last {
            // What was read since holds what whoever asks has written before.
            if done.began >= asked {
                return done.answer.clone();
            }
            sleep_until(done.next).await;
        }
        let began = clock::timer();
        let answer = self.ask(by).await;
        let now = clock::timer();
        let next = now + (now.duration_since(began) * PAUSE).max(RELOAD_PAUSE_MIN);
        *last = Some(Done { began, next, answer: answer.clone() });
        answer
    }

    async fn ask(&self, by: AskedBy) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let stopping = || "the agent is stopping".to_owned();
        self.0.requests.send((by, answer)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_an_answer_and_nobody_makes_it_read_without_a_pause() {
        let (handle, mut requests) = ReloadHandle::new();
        let reads = Arc::new(AtomicUsize::new(0));
        let read = Arc::clone(&reads);
        tokio::spawn(async move {
            while let Some((_, request)) = requests.recv().await {
                read.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                // Whoever asked may have gone.
                let _ = request.send(Err(read.load(Ordering::Relaxed).to_string()));
            }
        });
        let ask = || {
            let handle = handle.clone();
            tokio::spawn(async move { handle.reload(AskedBy::Stranger).await })
        };
        let (first, begun) = (ask(), Instant::now());
        tokio::time::sleep(Duration::from_millis(10)).await;
        let late: Vec<_> = (0..RELOADS_WAITING_MAX + 9).map(|_| ask()).collect();
        assert_eq!(first.await.expect("joined"), Some(Err("1".to_owned())));
        let mut refused = 0;
        for one in late {
            match one.await.expect("joined") {
                None => refused += 1,
                // The one that had begun when they asked may have read what was there before.
                answer => assert_eq!(answer, Some(Err("2".to_owned()))),
            }
        }
        assert_eq!((refused, reads.load(Ordering::Relaxed)), (10, 2));
        assert!(begun.elapsed() >= Duration::from_secs(1 + 3 + 1), "{:?}", begun.elapsed());
        assert_eq!(handle.reload(AskedBy::Stranger).await, Some(Err("3".to_owned())));
        let stranger = ask();
        tokio::task::yield_now().await;
        // As many as may wait: the owner does not wait with them, and no pause is his.
        let late: Vec<_> = (1..RELOADS_WAITING_MAX).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        let asked = Instant::now();
        assert_eq!(handle.reload(AskedBy::Owner).await, Some(Err("4".to_owned())));
        assert_eq!(asked.elapsed(), Duration::from_secs(1));
        assert_eq!(stranger.await.expect("joined"), Some(Err("5".to_owned())));
        drop(late);
    }
}
