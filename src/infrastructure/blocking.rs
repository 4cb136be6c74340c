//! Work that blocks: a disk, a filesystem that does not answer, certificates that are read.

use crate::domain::reason::{Reason, ReasonKind};

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
