//! A store that does with each call what a test says, and passes the others on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test that includes it uses its own part")]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use streamgauge::domain::litestream::{Folder, Layout, LevelKeys, ObjectName};
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::usecase::ports::{Content, Cursor, Page, ReplicaStore};
use tokio::sync::Semaphore;

/// One call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call<'a> {
    List(&'a str),
    Folders(&'a str),
    Read(&'a str),
}

/// What becomes of a call.
pub(crate) enum Fate {
    Answered,
    Fails(ReasonKind),
    /// A read brings only so many bytes.
    Cut(usize),
    /// A read finds an object that is shorter by so many bytes.
    Shorter(u64),
    /// A read finds nothing.
    Gone,
    /// No answer, ever.
    Hangs,
    /// An answer as soon as there is a permit.
    Waits(Arc<Semaphore>),
    /// Whatever this comes to.
    Decided(Pin<Box<dyn Future<Output = Result<(), Reason>> + Send>>),
}

type Script = Box<dyn FnMut(Call<'_>) -> Fate + Send>;

/// A store that does with each call as its script says, and counts them.
pub(crate) struct FaultyStore<S: ?Sized> {
    pub(crate) inner: Arc<S>,
    script: Mutex<Script>,
    calls: [AtomicUsize; 3],
}

impl<S: ReplicaStore + ?Sized> FaultyStore<S> {
    pub(crate) fn new(inner: Arc<S>) -> Self {
        Self::scripted(inner, |_| Fate::Answered)
    }

    pub(crate) fn scripted(inner: Arc<S>, script: impl FnMut(Call<'_>) -> Fate + Send + 'static) -> Self {
        Self { inner, script: Mutex::new(Box::new(script)), calls: Default::default() }
    }

    /// From now on, `script` is asked before each call.
    pub(crate) fn script(&self, script: impl FnMut(Call<'_>) -> Fate + Send + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(script);
    }

    pub(crate) fn heal(&self) {
        self.script(|_| Fate::Answered);
    }

    /// Lists, folder lists and reads since it was last asked.
    pub(crate) fn calls(&self) -> [usize; 3] {
        [0, 1, 2].map(|kind: usize| self.calls[kind].swap(0, Ordering::Relaxed))
    }

    /// What is to become of a call that is answered at all.
    async fn ask(&self, call: Call<'_>) -> Result<Fate, Reason> {
        let kind = match call {
            Call::List(_) => 0,
            Call::Folders(_) => 1,
            Call::Read(_) => 2,
        };
        self.calls[kind].fetch_add(1, Ordering::Relaxed);
        // A script may panic, which is then the look's failure.
        let fate = (self.script.lock().unwrap_or_else(PoisonError::into_inner))(call);
        match fate {
            Fate::Fails(kind) => return Err(Reason::new(kind, format!("{call:?}: scripted"))),
            Fate::Hangs => std::future::pending().await,
            Fate::Waits(permits) => permits.acquire().await.unwrap().forget(),
            Fate::Decided(decision) => decision.await?,
            fate => return Ok(fate),
        }
        Ok(Fate::Answered)
    }
}

#[async_trait]
impl<S: ReplicaStore + ?Sized> ReplicaStore for FaultyStore<S> {
    async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
        self.ask(Call::Folders("")).await?;
        self.inner.layouts().await
    }

    async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason> {
        self.ask(Call::Folders(layout.root())).await?;
        self.inner.folders(layout).await
    }

    async fn all(&self, layout: Layout) -> Result<Option<Page>, Reason> {
        let page = self.inner.all(layout).await?;
        if page.is_some() {
            self.ask(Call::List(layout.root())).await?;
        }
        Ok(page)
    }

    async fn list(&self, folder: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason> {
        self.ask(Call::List(&folder.prefix(LevelKeys::Plain))).await?;
        self.inner.list(folder, from, cursor).await
    }

    async fn names(&self, folders: &[Folder]) -> Result<Option<Vec<ObjectName>>, Reason> {
        let names = self.inner.names(folders).await?;
        if names.is_some() {
            self.ask(Call::List("")).await?;
        }
        Ok(names)
    }

    async fn space_left(&self) -> Option<u64> {
        Some(0)
    }

    async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
        let key = name.key(LevelKeys::Plain);
        let (skipped, at_most) = match self.ask(Call::Read(&key)).await? {
            Fate::Gone => return Ok(Content::Missing(Reason::new(ReasonKind::NotFound, format!("read {key}: gone")))),
            Fate::Cut(length) => (0, length),
            Fate::Shorter(bytes) => (bytes, usize::MAX),
            _ => (0, usize::MAX),
        };
        Ok(match self.inner.read(name, offset + skipped, length).await? {
            Content::There(mut bytes) => {
                bytes.truncate(at_most);
                Content::There(bytes)
            }
            missing => missing,
        })
    }
}
