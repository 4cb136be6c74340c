//! A dead-man's switch in the manner of healthchecks.io: GET says that all is well, POST to `/fail` says what is not.

use async_trait::async_trait;

use super::Sender;
use super::client::{Endpoint, Request};
use crate::domain::reason::Reason;
use crate::usecase::ports::DeadmanSwitch;

pub(super) struct Switch {
    pub(super) endpoint: Endpoint,
    pub(super) sender: Sender,
}

#[async_trait]
impl DeadmanSwitch for Switch {
    async fn ping(&self, failing: Option<&str>) -> Result<(), Reason> {
        let failure =
            |text: &str| Request { below: "/fail", ..Request::text(format!("{text}{}\n", self.sender.line())) };
        self.endpoint.send(failing.map_or_else(Request::default, failure)).await
    }
}
