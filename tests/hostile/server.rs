//! An S3 server that makes something else of each true answer, until it repents.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use streamgauge_testkit::http::{Answer, Request, Server};
use streamgauge_testkit::s3;

/// Makes something else of a true answer.
pub(crate) type Lie = fn(&Request, Answer) -> Answer;

pub(crate) struct Liar {
    pub(crate) server: Server,
    lying: Arc<AtomicBool>,
}

impl Liar {
    /// Serves the files of `folder` as the objects of every bucket, by their keys.
    pub(crate) fn start(folder: PathBuf, lie: Lie) -> Self {
        let lying = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&lying);
        let answer = move |request: &Request| {
            let truth = s3::answer(&folder, request).whole();
            if told.load(Ordering::Relaxed) { lie(request, truth) } else { truth }
        };
        Self { server: Server::start(answer).unwrap(), lying }
    }

    /// Tells the truth from now on.
    pub(crate) fn repent(&self) {
        self.lying.store(false, Ordering::Relaxed);
    }
}
