//! How a container is set up, as far as the store itself says: one request that reads, counted like any other. Versioning
//! and lifecycle are settings of the account, which another service of Azure knows.

use async_trait::async_trait;
use http::HeaderMap;

use super::client::{Action, Container};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::checked::{Calls, Operation};
use crate::usecase::ports::{BucketPosture, BucketStore};

/// One container.
pub(super) struct AbsContainer {
    container: Result<Container, Reason>,
    calls: Calls,
}

impl AbsContainer {
    pub(super) fn new(name: &str, container: Result<Container, Reason>, calls: Calls) -> Self {
        Self { container, calls: Calls { place: format!("abs://{name}"), ..calls } }
    }
}

#[async_trait]
impl BucketStore for AbsContainer {
    async fn posture(&self) -> BucketPosture {
        let unknown = |reason| BucketPosture { reason: Some(reason), ..BucketPosture::default() };
        let container = match &self.container {
            Ok(container) => container,
            Err(reason) => return unknown(reason.clone()),
        };
        let answer = container.get("", &[("restype", "container")], None, 0, Action::Posture);
        match self.calls.call(Operation::Posture, "?restype=container", answer, |_| Ok(Some(0))).await {
            Ok(answer) => read(&answer.headers),
            Err(reason) => unknown(reason),
        }
    }
}

fn read(headers: &HeaderMap) -> BucketPosture {
    let is_set = |name: &str| headers.get(name).is_some_and(|value| value == "true");
    let known = headers.contains_key("x-ms-has-immutability-policy");
    let locked =
        ["x-ms-has-immutability-policy", "x-ms-has-legal-hold", "x-ms-immutable-storage-with-versioning-enabled"];
    let cause = "versioning and lifecycle are settings of the account, which the store does not show";
    BucketPosture {
        public: Some(headers.contains_key("x-ms-blob-public-access")),
        object_lock_enabled: known.then(|| locked.into_iter().any(is_set)),
        reason: Some(Reason::new(ReasonKind::Unsupported, cause)),
        ..BucketPosture::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_does_not_say_is_unknown() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let posture = read(&headers(&[]));
        assert_eq!(
            (posture.public, posture.object_lock_enabled, posture.versioning_enabled),
            (Some(false), None, None)
        );
        let pairs = [("x-ms-has-immutability-policy", "false"), ("x-ms-has-legal-hold", "true")];
        let posture = read(&headers(&[pairs[0], pairs[1], ("x-ms-blob-public-access", "blob")]));
        assert_eq!((posture.public, posture.object_lock_enabled), (Some(true), Some(true)));
        assert_eq!(read(&headers(&pairs[..1])).object_lock_enabled, Some(false));
    }
}
