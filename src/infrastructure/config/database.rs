//! `[[database]]` of `streamgauge.toml`: what no `litestream.yml` names, and what is to be said otherwise about the rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::drill::DrillProbe;
use crate::domain::limits::AGE_IDENTITY_FILE_BYTES_MAX;
use crate::domain::litestream::AgeIdentities;
use crate::domain::secret::Secret;
use crate::domain::target::{LitestreamVersion, ReplicaTarget, StaticCredentials};

use super::drill;
use super::node::Section;
use super::permissions;
use super::problem::Place;
use super::read_text;
use super::replica::{self, Context, Keys};
use super::settings::{disk_used_percent, readable_file, release};

/// One `[[database]]`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) name: Option<String>,
    pub(super) path: Option<PathBuf>,
    pub(super) meta_path: Option<PathBuf>,
    pub(super) rpo: Option<Duration>,
    pub(super) retention: Option<Duration>,
    pub(super) snapshot_interval: Option<Duration>,
    pub(super) rto: Option<Duration>,
    pub(super) drill: drill::Keys,
    pub(super) probes: Vec<DrillProbe>,
    pub(super) restorer: Option<LitestreamVersion>,
    pub(super) permissions: permissions::Keys,
    pub(super) disk_used_percent: Option<u8>,
    pub(super) replicas: Vec<ReplicaTarget>,
}

/// Longest name: it is a label of every series.
const NAME_CHARACTERS_MAX: usize = 128;

pub(super) const NAME_ACCEPTED: &str = "a short name without control characters";

/// Reads a name that becomes a label.
pub(super) fn label(name: &str) -> Result<String, String> {
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
        return Err("not a name".to_owned());
    }
    Ok(name.to_owned())
}

pub(super) fn read(mut section: Section<'_>, context: &Context<'_>) -> Entry {
    let name = section.parsed("name", NAME_ACCEPTED, label);
    let mut path = |key: &'static str| {
        let absolute = |text: &str| match text {
            "" => Err("empty".to_owned()),
            text => context.base.litestream(text).map_err(str::to_owned),
        };
        section.parsed(key, "a path", absolute)
    };
    let (path, meta_path) = (path("path"), path("meta-path"));
    let entry = Entry {
        place: section.place().clone(),
        name,
        path,
        meta_path,
        rpo: section.duration("rpo"),
        retention: section.duration("retention"),
        snapshot_interval: section.duration("snapshot-interval"),
        rto: section.duration("rto"),
        drill: drill::read_database(section.section_or_empty("drill")),
        probes: drill::read_probes(&mut section),
        restorer: release(&mut section),
        permissions: permissions::read(&mut section),
        disk_used_percent: disk_used_percent(&mut section),
        replicas: section
            .sections("replica")
            .into_iter()
            .filter_map(|section| read_replica(section, context))
            .collect(),
    };
    if !section.has("path") && !section.has("replica") {
        section.problem(section.place().problem("neither `path` nor `replica`").accepted("at least one of the two"));
    }
    if section.has("meta-path") && !section.has("path") {
        section.problem(section.place_of("meta-path").problem("without `path`"));
    }
    section.finish();
    entry
}

fn read_replica(mut section: Section<'_>, context: &Context<'_>) -> Option<ReplicaTarget> {
    let mut keys = Keys {
        places: section.places(),
        name: section.text("name").unwrap_or_default(),
        url: section.text("url").unwrap_or_default(),
        access_key_id: section.text("access-key-id").unwrap_or_default(),
        secret_access_key: section.secret("secret-access-key"),
        sse_customer_key: section.secret("sse-customer-key"),
        sync_interval: section.duration("sync-interval"),
        ..Keys::default()
    };
    keys.s3.region = section.text("region").unwrap_or_default();
    keys.s3.endpoint = section.text("endpoint").unwrap_or_default();
    keys.s3.force_path_style = section.boolean("force-path-style");
    keys.s3.skip_verify = section.boolean("skip-verify").unwrap_or(false);
    let profile = section.text("profile").filter(|profile| !profile.is_empty());
    let session_token = section.secret("session-token");
    let ca_file = readable_file(&mut section, "ca-file", context.base);
    let identity = age_identity(&mut section, context);
    if !section.has("url") {
        section.problem(section.place_of("url").problem("missing").accepted("s3://bucket/path or file:///directory"));
    }
    let both = section.has("access-key-id") == section.has("secret-access-key");
    if !both {
        section.problem(
            section.place().problem("one of `access-key-id` and `secret-access-key`").accepted("both or neither"),
        );
    }
    if profile.is_some() && section.has("access-key-id") {
        section.problem(section.place_of("profile").problem("beside `access-key-id`").accepted("one of the two"));
    }
    let target = section.has("url").then(|| replica::target(&keys, None, context));
    let own_keys = section.has("access-key-id");
    let mut target = match target? {
        Ok(target) => target,
        Err(fault) => {
            section.problem(keys.problem(fault));
            section.finish();
            return None;
        }
    };
    if let Some(s3) = target.location.s3_mut() {
        if own_keys && let Some(StaticCredentials { session_token: token, .. }) = &mut s3.credentials {
            *token = session_token;
        }
        if profile.is_some() {
            s3.credentials = None;
        }
        s3.profile = profile;
        s3.ca_file = ca_file;
    }
    if let Some(identity) = identity {
        (target.encrypted, target.age_identities) = (true, vec![identity]);
    }
    section.finish();
    Some(target)
}

/// The content of `age-identity-file`, in which there has to be an identity.
fn age_identity(section: &mut Section<'_>, context: &Context<'_>) -> Option<Secret> {
    section.parsed("age-identity-file", "a readable file of age identities (AGE-SECRET-KEY-1…)", |text| {
        read_age_identities(&context.base.absolute(text)?)
    })
}

/// Reads a file of `age` identities, in which there has to be one.
///
/// # Errors
///
/// Why it cannot be read, or what is wrong with it.
pub fn read_age_identities(path: &Path) -> Result<Secret, String> {
    let identity = Secret::new(read_text(path, AGE_IDENTITY_FILE_BYTES_MAX)?);
    match AgeIdentities::parse(std::slice::from_ref(&identity)) {
        Ok(identities) if identities.is_empty() => Err("no identity in it".to_owned()),
        Ok(_) => Ok(identity),
        Err(reason) => Err(reason.message),
    }
}
