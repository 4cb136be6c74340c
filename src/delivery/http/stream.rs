//! The stream of a connection: what comes and goes is noticed, and a peer that does not read is given up. Otherwise a
//! client that asks and never takes the answer would keep one of the few connections for ever.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::active::Active;
use crate::infrastructure::clock;

/// Tells `active` of each read and write. Writes fail once the peer has taken nothing for `patience`.
pub(super) struct Stream<T> {
    inner: T,
    active: Arc<Active>,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    /// A write waits for the peer, and `deadline` is running.
    waiting: bool,
}

impl<T: AsyncWrite + Unpin> Stream<T> {
    pub(super) fn new(inner: T, active: Arc<Active>, patience: Duration) -> Self {
        Self { inner, active, patience, deadline: Box::pin(tokio::time::sleep(patience)), waiting: false }
    }

    fn write<R>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<Result<R>>,
    ) -> Poll<Result<R>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.inner), cx) {
            self.active.touch();
            self.waiting = false;
            return Poll::Ready(done);
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(clock::timer() + self.patience);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let done = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if done.is_ready() {
            self.active.touch();
        }
        done
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.write(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.write(cx, |inner, cx| inner.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write(cx, |inner, cx| inner.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write(cx, |inner, cx| inner.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let mut stream = Stream::new(ours, Arc::default(), Duration::from_secs(30));
        let error = stream.write_all(b"more than fits").await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = Stream::new(ours, Arc::default(), Duration::from_secs(30));
        let reader = tokio::spawn(async move {
            let mut taken = [0; 4];
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                theirs.read_exact(&mut taken).await.expect("read");
            }
        });
        stream.write_all(&[7; 20]).await.expect("all of it, in the end");
        reader.await.expect("joined");
    }
}
