//! How a bucket is set up, as far as its provider has the notion and the credentials may ask. A handful of requests that
//! read; each is counted like any other.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, Grant, LifecycleRule, ObjectLockConfiguration, ObjectLockEnabled,
    PolicyStatus, PublicAccessBlockConfiguration,
};

use super::client::{ClientSlot, Clients};
use super::failure::{self, Action};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::S3Location;
use crate::infrastructure::store::checked::{Calls, Operation};
use crate::usecase::ports::{BucketPosture, BucketStore};

/// Who everybody is in an access list.
const EVERYBODY: [&str; 2] =
    ["http://acs.amazonaws.com/groups/global/AllUsers", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"];

/// One bucket, asked with the credentials of one of the replicas in it.
pub(super) struct S3Bucket {
    bucket: String,
    client: Arc<ClientSlot>,
    clients: Arc<Clients>,
    calls: Calls,
}

impl S3Bucket {
    /// `calls` are what every call to the place gets.
    pub(super) fn new(place: &S3Location, clients: &Arc<Clients>, calls: Calls) -> Self {
        let calls = Calls { place: format!("s3://{}", place.bucket), ..calls };
        Self { bucket: place.bucket.clone(), client: clients.slot(place), clients: clients.clone(), calls }
    }

    /// One setting: its name in requests, the permission that reading it takes, and the code of a bucket that does not
    /// have it, which is an answer: the default.
    async fn ask<A: Send, T: Default + Send, E>(
        &self,
        (name, permission, absent): (&str, &'static str, Option<&str>),
        answer: impl Future<Output = Result<A, SdkError<E, HttpResponse>>> + Send,
        read: impl FnOnce(A) -> T + Send,
    ) -> Result<T, Reason>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let answer = async {
            match answer.await.map(read) {
                Err(error) if absent.is_some() && error.code() == absent => Ok(T::default()),
                answer => answer.map_err(|error| {
                    match failure::reason(error, Action::Posture(permission), &self.bucket) {
                        // A server that knows no such setting may take the request for another one.
                        reason if reason.kind == ReasonKind::Corrupt => {
                            Reason::new(ReasonKind::Unsupported, "the store gives an unexpected answer")
                        }
                        reason => reason,
                    }
                }),
            }
        };
        self.calls.call(Operation::Posture, name, answer, |_| Ok(Some(0))).await
    }

    async fn versioning(&self, client: &Client) -> Result<bool, Reason> {
        let setting = ("?versioning", "s3:GetBucketVersioning", None);
        let answer = client.get_bucket_versioning().bucket(&self.bucket).send();
        self.ask(setting, answer, |answer| answer.status == Some(BucketVersioningStatus::Enabled)).await
    }

    async fn object_lock(&self, client: &Client) -> Result<bool, Reason> {
        let absent = Some("ObjectLockConfigurationNotFoundError");
        let setting = ("?object-lock", "s3:GetBucketObjectLockConfiguration", absent);
        let answer = client.get_object_lock_configuration().bucket(&self.bucket).send();
        let enabled = |lock: ObjectLockConfiguration| lock.object_lock_enabled == Some(ObjectLockEnabled::Enabled);
        self.ask(setting, answer, |answer| answer.object_lock_configuration.is_some_and(enabled)).await
    }

    /// The prefixes of keys whose noncurrent versions expire.
    async fn noncurrent_expiry(&self, client: &Client) -> Result<Vec<String>, Reason> {
        let setting = ("?lifecycle", "s3:GetLifecycleConfiguration", Some("NoSuchLifecycleConfiguration"));
        let answer = client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send();
        let expired = |rules: Vec<LifecycleRule>| rules.into_iter().filter_map(expired_prefix).collect();
        self.ask(setting, answer, |answer| expired(answer.rules.unwrap_or_default())).await
    }

    async fn public_access_block(&self, client: &Client) -> Result<Option<PublicAccessBlockConfiguration>, Reason> {
        let absent = Some("NoSuchPublicAccessBlockConfiguration");
        let setting = ("?publicAccessBlock", "s3:GetBucketPublicAccessBlock", absent);
        let answer = client.get_public_access_block().bucket(&self.bucket).send();
        self.ask(setting, answer, |answer| answer.public_access_block_configuration).await
    }

    async fn public_policy(&self, client: &Client) -> Result<bool, Reason> {
        let setting = ("?policyStatus", "s3:GetBucketPolicyStatus", Some("NoSuchBucketPolicy"));
        let answer = client.get_bucket_policy_status().bucket(&self.bucket).send();
        let is_public = |status: PolicyStatus| status.is_public == Some(true);
        self.ask(setting, answer, |answer| answer.policy_status.is_some_and(is_public)).await
    }

    async fn public_list(&self, client: &Client) -> Result<bool, Reason> {
        let setting = ("?acl", "s3:GetBucketAcl", None);
        let answer = client.get_bucket_acl().bucket(&self.bucket).send();
        let everybody = |grant: &Grant| {
            let uri = grant.grantee.as_ref().and_then(|grantee| grantee.uri.as_deref());
            uri.is_some_and(|uri| EVERYBODY.contains(&uri))
        };
        self.ask(setting, answer, |answer| answer.grants().iter().any(everybody)).await
    }
}

#[async_trait]
impl BucketStore for S3Bucket {
    async fn posture(&self) -> BucketPosture {
        let mut posture = BucketPosture::default();
        let client = match self.clients.client(&self.client).await {
            Ok(client) => client,
            Err(reason) => {
                posture.reason = Some(reason);
                return posture;
            }
        };
        let mut why = None;
        posture.versioning_enabled = known(self.versioning(&client).await, &mut why);
        if why.as_ref().is_some_and(is_silent) {
            posture.reason = why;
            return posture;
        }
        posture.object_lock_enabled = known(self.object_lock(&client).await, &mut why);
        posture.noncurrent_expiry = known(self.noncurrent_expiry(&client).await, &mut why);
        let block = known(self.public_access_block(&client).await, &mut why);
        let set = |of: fn(&PublicAccessBlockConfiguration) -> Option<bool>| {
            block.as_ref().map(|block| block.as_ref().and_then(of) == Some(true))
        };
        let restricted = set(|block| block.restrict_public_buckets);
        let ignored = set(|block| block.ignore_public_acls);
        posture.public_access_blocked = restricted.zip(ignored).map(|(restricted, ignored)| restricted && ignored);
        // What is blocked need not be asked for.
        let policy = match restricted {
            Some(true) => Some(false),
            _ => known(self.public_policy(&client).await, &mut why),
        };
        let list = match ignored {
            Some(true) => Some(false),
            _ => known(self.public_list(&client).await, &mut why),
        };
        posture.public = opened(block.is_some(), policy, list);
        posture.reason = why;
        posture
    }
}

/// Whether anybody is let in by a policy or an access list that nothing blocks. Where it is not known what is blocked,
/// only a no of both is known.
fn opened(block_known: bool, policy: Option<bool>, list: Option<bool>) -> Option<bool> {
    match (policy, list) {
        (Some(false), Some(false)) => Some(false),
        (Some(true), _) | (_, Some(true)) if block_known => Some(true),
        _ => None,
    }
}

/// The prefix of the keys whose noncurrent versions a rule expires, if it does and asks for nothing but a prefix.
fn expired_prefix(rule: LifecycleRule) -> Option<String> {
    if rule.status != ExpirationStatus::Enabled {
        return None;
    }
    let expiry = rule.noncurrent_version_expiration?;
    expiry.noncurrent_days?;
    let filter = rule.filter.unwrap_or_else(|| aws_sdk_s3::types::LifecycleRuleFilter::builder().build());
    let and = filter.and;
    let tagged =
        filter.tag.is_some() || and.as_ref().is_some_and(|and| and.tags.as_ref().is_some_and(|t| !t.is_empty()));
    let sized = [filter.object_size_greater_than, filter.object_size_less_than].iter().any(Option::is_some)
        || and.as_ref().is_some_and(|and| and.object_size_greater_than.or(and.object_size_less_than).is_some());
    if tagged || sized {
        return None;
    }
    #[expect(deprecated, reason = "rules from before there were filters have their prefix here")]
    let old = rule.prefix;
    Some(filter.prefix.or_else(|| and.and_then(|and| and.prefix)).or(old).unwrap_or_default())
}

/// Keeps the first reason for which something is not known.
fn known<T>(answer: Result<T, Reason>, why: &mut Option<Reason>) -> Option<T> {
    answer.map_err(|reason| why.get_or_insert(reason).kind).ok()
}

/// The store does not answer at all, and would not answer the next question.
fn is_silent(reason: &Reason) -> bool {
    matches!(reason.kind, ReasonKind::Timeout | ReasonKind::Unreachable | ReasonKind::Throttled)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleFilter, NoncurrentVersionExpiration, Tag};

    use super::*;

    #[test]
    fn what_is_not_known_is_neither_open_nor_closed() {
        let (yes, no) = (Some(true), Some(false));
        for (block_known, policy, list, expected) in [
            (true, no, no, no),
            (false, no, no, no),
            (true, yes, no, yes),
            (true, None, yes, yes),
            (false, yes, no, None),
            (true, None, no, None),
            (true, no, None, None),
        ] {
            assert_eq!(opened(block_known, policy, list), expected, "{block_known} {policy:?} {list:?}");
        }
    }

    #[test]
    fn a_rule_counts_for_the_keys_of_which_it_takes_all() {
        let rule = |status, days: Option<i32>, filter: Option<LifecycleRuleFilter>| {
            let expiry = days.map(|days| NoncurrentVersionExpiration::builder().noncurrent_days(days).build());
            let rule = LifecycleRule::builder().status(status).set_noncurrent_version_expiration(expiry);
            expired_prefix(rule.set_filter(filter).build().unwrap())
        };
        let filter = LifecycleRuleFilter::builder;
        let enabled = ExpirationStatus::Enabled;
        assert_eq!(rule(enabled.clone(), Some(7), None).as_deref(), Some(""));
        assert_eq!(rule(enabled.clone(), Some(7), Some(filter().prefix("a/").build())).as_deref(), Some("a/"));
        let tag = Tag::builder().key("k").value("v").build().unwrap();
        assert_eq!(rule(enabled.clone(), Some(7), Some(filter().tag(tag).build())), None);
        assert_eq!(rule(enabled.clone(), Some(7), Some(filter().object_size_greater_than(9).build())), None);
        assert_eq!(rule(enabled, None, None), None);
        assert_eq!(rule(ExpirationStatus::Disabled, Some(7), None), None);
    }
}
