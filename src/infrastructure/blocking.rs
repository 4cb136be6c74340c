//! Work that blocks: a disk, a filesystem that does not answer, certificates that are read.

use futures_util::future::BoxFuture;

use crate::domain::reason::{Reason, ReasonKind};

/// Runs the watch of databases on a thread of its own.
///
/// # Errors
///
/// When the thread cannot be started.
pub fn run_on_thread(watch: BoxFuture<'static, ()>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("local-watch".into()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}

/// Runs it on a thread where that is allowed. A panic is a failure.
///
/// # Errors
///
/// That of the work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Reason> + Send + 'static,
) -> Result<T, Reason> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Reason::new(ReasonKind::Failed, error.to_string()))?
}
