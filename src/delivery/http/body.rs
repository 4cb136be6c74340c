//! The body of an answer on its way to the client: it stays a request in work until its last byte has left, so that
//! clients that ask and do not read are counted.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::seats::Work;
use crate::delivery::render::pieces::Pieces;

/// A body, and the work that it belongs to.
pub(super) struct Sent {
    body: Pieces,
    work: Arc<Work>,
}

impl Sent {
    /// The answer is made: from now on it is the client's turn.
    pub(super) fn new(body: Pieces, work: Work) -> Self {
        work.made();
        Self { body, work: Arc::new(work) }
    }
}

impl Body for Sent {
    type Data = Chunk;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { body, work } = self.get_mut();
        let chunk = |bytes| Chunk { bytes, work: Arc::clone(work) };
        Poll::Ready(body.next().map(|bytes| Ok(Frame::data(chunk(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.left())
    }
}

/// Bytes that the connection keeps until it has written them.
pub(super) struct Chunk {
    bytes: Bytes,
    work: Arc<Work>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.work.moved(count);
        self.bytes.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }
}
