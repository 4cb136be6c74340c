//! A dead-man's switch in the manner of healthchecks.io: GET says that all is well, POST to `/fail` says what is not.

use async_trait::async_trait;
use http::Method;

use super::client::{Content, Endpoint};
use crate::domain::reason::Reason;
use crate::usecase::ports::DeadmanSwitch;

pub(super) struct HttpSwitch {
    endpoint: Endpoint,
}

impl HttpSwitch {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }
}

#[async_trait]
impl DeadmanSwitch for HttpSwitch {
    async fn ping(&self, failing: Option<&str>) -> Result<(), Reason> {
        match failing {
            None => self.endpoint.send(Method::GET, "", Content::default()).await,
            Some(text) => {
                let body = text.to_owned();
                let content = Content { body, content_type: "text/plain; charset=utf-8", headers: &[] };
                self.endpoint.send(Method::POST, "/fail", content).await
            }
        }
    }
}
