//! Content in pieces, from a store to a decoder on a thread of its own, in bounded memory.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{Reader, Stop};
use crate::domain::limits::VERIFY_CHUNK_BYTES;
use crate::domain::reason::{Reason, ReasonKind};

impl Reader<'_> {
    /// Reads the whole object and hands it to `decode`, which blocks.
    pub(super) async fn stream<T: Send + 'static>(
        &mut self,
        decode: impl FnOnce(Chunks) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Stop> {
        let (sender, receiver) = mpsc::channel(1);
        let decoding = spawn_blocking(move || decode(Chunks { receiver, current: Bytes::new() }));
        let size = self.job.object.size;
        let mut offset = 0;
        while offset < size {
            let chunk = self.range(offset, VERIFY_CHUNK_BYTES.min(size - offset)).await?;
            offset += chunk.len() as u64;
            // A decoder that has seen enough has hung up.
            if chunk.is_empty() || sender.send(chunk).await.is_err() {
                break;
            }
        }
        drop(sender);
        let internal = |error: tokio::task::JoinError| Reason::new(ReasonKind::Failed, error.to_string());
        decoding.await.map_err(internal)?
    }
}

/// Pieces as one reader.
pub(super) struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.current.is_empty() {
            self.current = self.receiver.blocking_recv().unwrap_or_default();
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
