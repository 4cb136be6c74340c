//! `[[database]]` of `streamgauge.toml`: what no `litestream.yml` names, and what is to be said otherwise about the rest.

use std::path::Path;

use super::settings::Settings;
use super::targets::Found;
use super::{drill, objectives};
use crate::domain::drill::DrillPolicy;
use crate::domain::limits::AGE_IDENTITY_FILE_BYTES_MAX;
use crate::domain::litestream::AgeIdentities;
use crate::domain::secret::Secret;
use crate::domain::target::{DatabaseFiles, ReplicaTarget};
use crate::infrastructure::config::litestream::keys::Keys;
use crate::infrastructure::config::litestream::login::Login;
use crate::infrastructure::config::litestream::replica::{self, Context};
use crate::infrastructure::config::source::text::read_text;
use crate::infrastructure::config::value::section::Section;

/// Reads a `[[database]]`; what it does not say is as in `settings`.
pub(crate) fn read(mut section: Section<'_>, settings: &Settings, context: &Context<'_>) -> Found {
    let name = section.name("name");
    let mut path = |key| section.parsed(key, "a path", |text| context.base.database(text));
    let (path, meta_path) = (path("path"), path("meta-path"));
    let objectives = objectives::read(&mut section, settings.objectives.clone());
    let drill = drill::read_database(section.section_or_empty("drill"), &settings.drill);
    let drill = DrillPolicy { probes: drill::read_probes(&mut section), ..drill };
    let replicas = section.sections("replica").into_iter();
    let replicas = replicas.filter_map(|mut section| read_replica(&mut section, context)).collect();
    if !section.has("path") && !section.has("replica") {
        section.fault("neither `path` nor `replica`", "at least one of the two");
    }
    if section.has("meta-path") && !section.has("path") {
        section.wrong("meta-path", "without `path`", "");
    }
    let files = path.map(|path| DatabaseFiles { path, meta_path });
    Found {
        place: section.place().clone(),
        name,
        files,
        replicas,
        objectives,
        drill,
        litestream: false,
        shard_key: None,
    }
}

/// Reads the keys of a replica.
pub(super) fn read_replica(section: &mut Section<'_>, context: &Context<'_>) -> Option<ReplicaTarget> {
    let keys = Keys {
        places: section.places(),
        name: section.text("name").unwrap_or_default(),
        url: section.text("url").unwrap_or_default(),
        access_key_id: section.text("access-key-id").unwrap_or_default(),
        secret_access_key: section.secret("secret-access-key"),
        sse_customer_key: section.secret("sse-customer-key"),
        sync_interval: section.duration("sync-interval"),
        region: section.text("region").unwrap_or_default(),
        endpoint: section.text("endpoint").unwrap_or_default(),
        force_path_style: section.boolean("force-path-style"),
        skip_verify: section.boolean("skip-verify").unwrap_or(false),
        profile: section.text("profile").filter(|profile| !profile.is_empty()),
        session_token: section.secret("session-token"),
        login: Login::read(section),
        ca_file: section.parsed("ca-file", "a readable file", |text| context.base.readable(text)),
        ..Keys::default()
    };
    let identity = age_identity(section, context);
    section.require("url", "s3://bucket/path or file:///directory");
    keys.foreign().chain(keys.unverified()).for_each(|problem| section.warning(problem));
    if section.has("access-key-id") != section.has("secret-access-key") {
        section.fault("one of `access-key-id` and `secret-access-key`", "both or neither");
    }
    if keys.profile.is_some() {
        section.exclude("access-key-id", "profile");
    }
    let target = section.has("url").then(|| replica::target(&keys, None, context))?;
    let mut target = target.map_err(|fault| section.problem(*fault)).ok()?;
    if let Some(identity) = identity {
        (target.encrypted, target.age_identities) = (true, vec![identity]);
    }
    Some(target)
}

/// The content of `age-identity-file`, in which there has to be an identity.
fn age_identity(section: &mut Section<'_>, context: &Context<'_>) -> Option<Secret> {
    section.parsed("age-identity-file", "a readable file of age identities (AGE-SECRET-KEY-1…)", |text| {
        let path = context.base.absolute(text)?;
        context.base.depends_on(&path);
        read_age_identities(&path)
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
