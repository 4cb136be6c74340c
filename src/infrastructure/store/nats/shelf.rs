//! The object stores of a server, and which of them are replicas.

use std::collections::BTreeSet;
use std::slice;

use serde::Deserialize;
use serde_json::json;

use super::failure;
use super::link::{Get, Link, text};
use super::object::name;
use crate::domain::litestream::Layout;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::checked::corrupt;
use crate::infrastructure::store::keys::FolderPage;
use crate::usecase::ports::Cursor;

/// Descriptions that are read of a store to learn whether Litestream writes there. It writes nothing else.
const SAMPLE: usize = 100;

/// What is needed of an answer to `$JS.API.STREAM.NAMES`.
#[derive(Deserialize)]
struct Names {
    total: usize,
    streams: Option<Vec<String>>,
}

/// What an object store may be called.
pub(super) fn is_bucket(name: &str) -> bool {
    let valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    !name.is_empty() && name.chars().all(valid)
}

/// One page of the object stores, which are the folders of a server; below one of them, the folder in which Litestream's
/// files are, if it wrote there. A store has no other folders: what else is in one is none of ours.
pub(super) async fn folders(link: &Link, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
    match prefix.strip_suffix('/') {
        None => buckets(link, cursor).await,
        Some(bucket) if is_bucket(bucket) => layouts(link, bucket).await.map(FolderPage::from),
        Some(_) => Ok(Vec::new().into()),
    }
}

async fn buckets(link: &Link, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
    let offset = cursor.map_or(Some(0), |cursor| cursor.get::<usize>().copied());
    let offset = offset.ok_or_else(|| corrupt("not its cursor".to_owned()))?;
    let asked = json!({ "offset": offset, "subject": "$O.>" }).to_string();
    let answer = link.ask("$JS.API.STREAM.NAMES", None, asked.into()).await?.ok_or_else(failure::no_jetstream)?;
    let Names { total, streams } = link.answer(&answer, "")?;
    let streams = streams.unwrap_or_default();
    let end = offset.saturating_add(streams.len());
    let next = (end < total && !streams.is_empty()).then(|| Cursor::new(end));
    let names = streams.iter().filter_map(|stream| stream.strip_prefix("OBJ_"));
    Ok(FolderPage { names: names.filter(|name| is_bucket(name)).map(str::to_owned).collect(), next })
}

async fn layouts(link: &Link, bucket: &str) -> Result<Vec<String>, Reason> {
    let subject = format!("$O.{bucket}.M.>");
    let get = Get { seq: Some(1), next_by_subj: Some(&subject), batch: Some(SAMPLE), ..Get::default() };
    let mut found = BTreeSet::new();
    let read = link.batch(bucket, &get, |message| {
        let key = text(&message, "Nats-Subject").and_then(|subject| name(bucket, subject));
        let folder = key.as_deref().and_then(|key| key.split_once('/')).map(|(folder, _)| folder.to_owned());
        found.extend(folder.filter(|folder| !Layout::recognise(slice::from_ref(folder)).is_empty()));
        Ok(())
    });
    match read.await {
        Ok(_) => Ok(found.into_iter().collect()),
        // One that has just gone, or that no Litestream has made: it would be read by direct get.
        Err(reason) if matches!(reason.kind, ReasonKind::NotFound | ReasonKind::Misconfigured) => Ok(Vec::new()),
        Err(reason) => Err(reason),
    }
}
