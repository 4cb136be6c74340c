//! A dead-man's switch in the manner of healthchecks.io: GET says that all is well, POST to `/fail` says what is not.

use async_trait::async_trait;

use super::client::{Endpoint, Request};
use crate::domain::reason::Reason;
use crate::usecase::ports::DeadmanSwitch;

#[async_trait]
impl DeadmanSwitch for Endpoint {
    async fn ping(&self, failing: Option<&str>) -> Result<(), Reason> {
        let failure = |text: &str| Request { below: "/fail", ..Request::text(text.to_owned()) };
        self.send(failing.map_or_else(Request::default, failure)).await
    }
}
