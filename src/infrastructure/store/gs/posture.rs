//! How a bucket of Google Cloud Storage is set up, as far as the credentials may ask: two requests that read, counted like
//! any other.

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Action, Bucket};
use crate::domain::limits::BUCKET_SETTINGS_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::checked::{Calls, Operation};
use crate::usecase::ports::{BucketPosture, BucketStore};

/// Who everybody is in a policy.
const EVERYBODY: [&str; 2] = ["allUsers", "allAuthenticatedUsers"];

/// One bucket.
pub(super) struct GsBucket {
    bucket: Bucket,
    calls: Calls,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    versioning: Option<Switch>,
    iam_configuration: IamConfiguration,
    lifecycle: Lifecycle,
    retention_policy: Option<RetentionPolicy>,
    object_retention: Option<ObjectRetention>,
}

#[derive(Deserialize)]
struct Switch {
    enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IamConfiguration {
    public_access_prevention: Option<String>,
    uniform_bucket_level_access: Option<Switch>,
}

#[derive(Deserialize)]
struct RetentionPolicy {}

#[derive(Deserialize)]
struct ObjectRetention {
    mode: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lifecycle {
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    action: RuleAction,
    condition: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct RuleAction {
    r#type: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Policy {
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
struct Binding {
    #[serde(default)]
    members: Vec<String>,
}

impl GsBucket {
    pub(super) fn new(bucket: Bucket, calls: Calls) -> Self {
        let calls = Calls { place: format!("gs://{}", bucket.name), ..calls };
        Self { bucket, calls }
    }

    async fn ask<T: DeserializeOwned + Send>(&self, rest: &str, permission: &'static str) -> Result<T, Reason> {
        let answer = self.bucket.json(rest, BUCKET_SETTINGS_BYTES_MAX, Action::Posture(permission));
        self.calls.call(Operation::Posture, rest, answer, |_| Ok(Some(0))).await
    }

    /// The policy lets anybody in.
    async fn is_open(&self) -> Result<bool, Reason> {
        let policy: Policy = self.ask("/iam", "storage.buckets.getIamPolicy").await?;
        let everybody = |member: &String| EVERYBODY.contains(&member.as_str());
        Ok(policy.bindings.iter().any(|binding| binding.members.iter().any(everybody)))
    }

    /// Why a policy that lets nobody in does not say that nobody gets in.
    fn lists_of_objects(&self) -> Reason {
        let cause = "each object may have an access control list of its own";
        Reason::new(ReasonKind::Unsupported, cause)
            .context(format_args!("read settings of {}", self.calls.place))
            .with_hint("turn on uniform bucket-level access, or enforce public access prevention")
    }
}

#[async_trait]
impl BucketStore for GsBucket {
    async fn posture(&self) -> BucketPosture {
        const FIELDS: &str = "?fields=versioning,iamConfiguration,lifecycle,retentionPolicy,objectRetention";
        let settings: Settings = match self.ask(FIELDS, "storage.buckets.get").await {
            Ok(settings) => settings,
            Err(reason) => return BucketPosture { reason: Some(reason), ..BucketPosture::default() },
        };
        // What a bucket inherits may be that an organisation forbids it.
        let access = settings.iam_configuration;
        let blocked = (access.public_access_prevention.as_deref() == Some("enforced")).then_some(true);
        let uniform = access.uniform_bucket_level_access.is_some_and(|uniform| uniform.enabled);
        let open = match blocked {
            Some(true) => Ok(false),
            _ => self.is_open().await.and_then(|open| match open || uniform {
                true => Ok(open),
                false => Err(self.lists_of_objects()),
            }),
        };
        let retention = settings.object_retention.is_some_and(|retention| retention.mode.as_deref() == Some("Enabled"));
        BucketPosture {
            versioning_enabled: Some(settings.versioning.is_some_and(|versioning| versioning.enabled)),
            public_access_blocked: blocked,
            public: open.as_ref().ok().copied(),
            object_lock_enabled: Some(retention || settings.retention_policy.is_some()),
            noncurrent_expiry: Some(settings.lifecycle.rule.iter().flat_map(expired_prefixes).collect()),
            reason: open.err(),
        }
    }
}

/// The prefixes of the keys whose noncurrent versions a rule deletes after some time, if it does and asks for nothing else.
fn expired_prefixes(rule: &Rule) -> Vec<String> {
    let condition = |name: &str| rule.condition.get(name);
    let other = rule.condition.keys().any(|name| {
        !["daysSinceNoncurrentTime", "age", "isLive", "matchesPrefix", "numNewerVersions"].contains(&name.as_str())
    });
    let noncurrent = condition("isLive").and_then(serde_json::Value::as_bool) == Some(false);
    let expires = condition("daysSinceNoncurrentTime").is_some() || noncurrent && condition("age").is_some();
    // Some of them stay for ever.
    let kept = condition("numNewerVersions").is_some();
    if rule.action.r#type != "Delete" || other || !expires || kept {
        return Vec::new();
    }
    match condition("matchesPrefix").and_then(serde_json::Value::as_array) {
        Some(prefixes) => prefixes.iter().filter_map(|prefix| prefix.as_str().map(str::to_owned)).collect(),
        None => vec![String::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_for_the_keys_of_which_it_takes_all_old_versions() {
        for (condition, expected) in [
            (r#"{"daysSinceNoncurrentTime":7}"#, &[""][..]),
            (r#"{"daysSinceNoncurrentTime":7,"matchesPrefix":["a/","b/"]}"#, &["a/", "b/"]),
            (r#"{"age":30,"isLive":false}"#, &[""]),
            (r#"{"age":30}"#, &[]),
            (r#"{"age":30,"isLive":true}"#, &[]),
            (r#"{"daysSinceNoncurrentTime":7,"numNewerVersions":3}"#, &[]),
            (r#"{"daysSinceNoncurrentTime":7,"matchesSuffix":[".ltx"]}"#, &[]),
        ] {
            let rule = |action: &str| {
                let text = format!(r#"{{"action":{{"type":"{action}"}},"condition":{condition}}}"#);
                expired_prefixes(&serde_json::from_str(&text).unwrap())
            };
            assert_eq!(rule("Delete"), expected, "{condition}");
            assert!(rule("SetStorageClass").is_empty());
        }
    }
}
