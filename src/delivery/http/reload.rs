//! The way of a reload request from the HTTP server to the agent and of the answer back.

use tokio::sync::{mpsc, oneshot};

use crate::domain::limits::RELOAD_TIMEOUT;

/// Asks the agent to read its configuration again.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<oneshot::Sender<Result<(), String>>>);

/// The agent's end: each request is answered once, with why the new configuration was refused or with nothing.
pub type ReloadRequests = mpsc::Receiver<oneshot::Sender<Result<(), String>>>;

impl ReloadHandle {
    /// A handle and the agent's end of it. One request waits while another is worked on.
    pub fn new() -> (Self, ReloadRequests) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// Waits for the agent's answer, at most [`RELOAD_TIMEOUT`].
    pub async fn reload(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let ask = async {
            let stopping = || "the agent is stopping".to_owned();
            self.0.send(answer).await.map_err(|_| stopping())?;
            answered.await.map_err(|_| stopping())?
        };
        let late = |_| format!("the agent did not answer within {} seconds", RELOAD_TIMEOUT.as_secs());
        tokio::time::timeout(RELOAD_TIMEOUT, ask).await.map_err(late)?
    }
}
