//! A replica in an S3 bucket. Listings start after a key, so that a poll is one request whatever the bucket holds.
//!
//! Litestream v0.5 joins path and key by concatenation and never normalises; v0.3 cleans what it writes. Both are
//! followed here, and nowhere else.

mod answer;
mod beacon;
mod client;
mod connector;
mod failure;
mod posture;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::types::Object;
use bytes::Bytes;

use super::checked::{corrupt, printable};
use super::keys::{FolderPage, KeyInfo, KeyPage, KeyStore, folder_name, is_object_missing};
use super::kind::{Kind, Shared, StoreOptions, unsupported};
use super::part::Part;
use super::reused::Buffers;
use crate::domain::litestream::Dated;
use crate::domain::reason::Reason;
use crate::domain::target::{ReplicaLocation, S3Location, StoreKind};
use crate::infrastructure::files::timestamp;
use crate::infrastructure::http::failure::broken;
use crate::usecase::ports::{BeaconStore, Content, Cursor};
use client::{ClientSlot, Clients, CustomerKey, Lent};
use failure::Action;

pub(super) const KIND: Kind = Kind {
    of: StoreKind::S3,
    flat: true,
    nested: false,
    whole: false,
    open: |location, shared| clients(shared).open(place(location)?),
    shelf: |location, shared| clients(shared).shelf(place(location)?),
    beacon: |location, shared| clients(shared).beacon(place(location)?),
    bucket: |location, shared, calls| Some(Arc::new(posture::S3Bucket::new(location.s3()?, &clients(shared).0, calls))),
    clock_offset: |shared| clients(shared).clock_offset(),
};

/// What all replicas of one kind have in common that is spoken to as S3; each kind has its own and tells of its own clocks.
pub(super) struct S3Clients(Arc<Clients>);

impl S3Clients {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self(Arc::new(Clients::new(options.timeout, options.ca_file.clone())))
    }

    pub(super) fn open(&self, place: &S3Location) -> Result<Box<dyn KeyStore>, Reason> {
        let (bucket, root) = (Bucket::new(place, &self.0)?, Root::new(&place.path));
        Ok(Box::new(S3Store { bucket, root, buffers: Buffers::default() }))
    }

    /// As [`Kind::shelf`].
    pub(super) fn shelf(&self, place: &S3Location) -> Result<Box<dyn KeyStore>, Reason> {
        let Root { clean, .. } = Root::new(&place.path);
        let (bucket, root) = (Bucket::new(place, &self.0)?, Root { raw: clean.clone(), clean });
        Ok(Box::new(S3Store { bucket, root, buffers: Buffers::default() }))
    }

    pub(super) fn beacon(&self, place: &S3Location) -> Result<Box<dyn BeaconStore>, Reason> {
        Ok(Box::new(beacon::S3Beacon::new(place, &self.0)?))
    }

    /// As [`Kind::clock_offset`].
    pub(super) fn clock_offset(&self) -> Option<f64> {
        self.0.clocks().offset(|_| true)
    }
}

fn clients(shared: &Shared) -> Arc<S3Clients> {
    shared.of(S3Clients::new)
}

fn place(location: &ReplicaLocation) -> Result<&S3Location, Reason> {
    location.s3().ok_or_else(|| unsupported(location))
}

/// Keys in one page, the most that S3 gives.
const PAGE_KEYS: i32 = 1000;

/// How objects are encrypted with a key of the customer.
const ALGORITHM: &str = "AES256";

/// The folder that holds everything v0.3 writes.
const GENERATIONS: &str = "generations/";

/// A bucket, and the client and key with which its objects are asked for.
struct Bucket {
    name: String,
    customer_key: Option<CustomerKey>,
    client: Arc<ClientSlot>,
    clients: Arc<Clients>,
}

impl Bucket {
    fn new(place: &S3Location, clients: &Arc<Clients>) -> Result<Self, Reason> {
        let customer_key = place.sse_customer_key.as_ref().map(CustomerKey::new).transpose();
        Ok(Self {
            customer_key: customer_key.map_err(|reason| reason.context(format_args!("open s3://{}", place.bucket)))?,
            client: clients.slot(place),
            clients: clients.clone(),
            name: place.bucket.clone(),
        })
    }

    async fn client(&self) -> Result<Lent<'_>, Reason> {
        self.clients.client(&self.client).await
    }

    /// A request for the bytes of an object from `first` to `last`.
    fn get(&self, client: &Client, key: &str, first: u64, last: u64) -> GetObjectFluentBuilder {
        let request = client.get_object().bucket(&self.name).key(key).range(format!("bytes={first}-{last}"));
        match &self.customer_key {
            Some(CustomerKey { key, md5 }) => {
                request.sse_customer_algorithm(ALGORITHM).sse_customer_key(key.expose()).sse_customer_key_md5(md5)
            }
            None => request,
        }
    }
}

/// One replica in a bucket.
pub(super) struct S3Store {
    bucket: Bucket,
    root: Root,
    buffers: Buffers,
}

impl S3Store {
    /// There is something below a full prefix.
    async fn holds_anything(&self, prefix: &str) -> Result<bool, Reason> {
        let client = self.bucket.client().await?;
        let page = client.list_objects_v2().bucket(&self.bucket.name).prefix(prefix).max_keys(1).send().await;
        let page = page.map_err(|error| failure::reason(error, Action::List, &self.bucket.name))?;
        Ok(page.contents.is_some_and(|contents| !contents.is_empty()))
    }
}

#[async_trait]
impl KeyStore for S3Store {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let client = self.bucket.client().await?;
        let place = self.root.place(prefix);
        // The cursor is the last key of the page before.
        let after = cursor.and_then(|cursor| cursor.get::<String>()).cloned();
        let start_after = after.or_else(|| from.map(|from| just_before(self.root.place(from))));
        let request = client.list_objects_v2().bucket(&self.bucket.name).prefix(&place).set_start_after(start_after);
        let page = request.max_keys(PAGE_KEYS).send().await;
        let page = page.map_err(|error| failure::reason(error, Action::List, &self.bucket.name))?;
        let objects = page.contents.unwrap_or_default().into_iter().map(|object| object_info(object, &place, prefix));
        let mut objects = objects.collect::<Result<Vec<KeyInfo>, _>>()?;
        // The SDK takes a document that breaks off for a complete one.
        let more = page
            .is_truncated
            .ok_or_else(|| corrupt("a listing that does not say whether it is complete".to_owned()))?;
        let next = more.then(|| Cursor::new(objects.last().map_or(place, |last| self.root.place(&last.key))));
        if let (Some(from), None) = (from, cursor) {
            // What comes between the key before it and itself is not Litestream's.
            let before = just_before(from.to_owned());
            objects.retain(|object| object.key.as_str() >= from || object.key <= before);
        }
        Ok(KeyPage { objects, next })
    }

    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let client = self.bucket.client().await?;
        let place = self.root.place(prefix);
        let token = cursor.and_then(|cursor| cursor.get::<String>()).cloned();
        let request = client.list_objects_v2().bucket(&self.bucket.name).prefix(&place).delimiter("/");
        let page = request.max_keys(PAGE_KEYS).set_continuation_token(token).send().await;
        let page = page.map_err(|error| failure::reason(error, Action::List, &self.bucket.name))?;
        let folders = page.common_prefixes.unwrap_or_default().into_iter();
        let names = folders.filter_map(|folder| folder_name(&folder.prefix.unwrap_or_default(), &place).transpose());
        let mut names = names.collect::<Result<Vec<String>, _>>()?;
        if prefix.is_empty() && self.root.is_odd() {
            // What v0.3 wrote is under another root than what v0.5 writes.
            names.retain(|name| name != GENERATIONS.trim_end_matches('/'));
            if cursor.is_none() && self.holds_anything(&self.root.place(GENERATIONS)).await? {
                names.push(GENERATIONS.trim_end_matches('/').to_owned());
            }
        }
        let next = page.next_continuation_token.filter(|_| page.is_truncated.unwrap_or(false));
        Ok(FolderPage { names, next: next.map(Cursor::new) })
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let client = self.bucket.client().await?;
        let last = offset.saturating_add(length.saturating_sub(1));
        let request = self.bucket.get(&client, &self.root.place(key), offset, last);
        match request.send().await {
            Ok(object) => content(object, offset, length, &self.buffers).await.map(Content::There),
            // 416: the range starts at or behind the end.
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 416) => {
                Ok(Content::There(Bytes::new()))
            }
            Err(error) => match failure::reason(error, Action::Read, &self.bucket.name) {
                reason if is_object_missing(&reason) => Ok(Content::Missing(reason)),
                reason => Err(reason),
            },
        }
    }
}

/// Where keys are in the bucket.
struct Root {
    /// v0.5: as configured, followed by a slash.
    raw: String,
    /// v0.3: without empty and dot components; empty or ending in a slash.
    clean: String,
}

impl Root {
    fn new(path: &str) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        Self { raw: format!("{path}/"), clean: names.iter().flat_map(|name| [name, "/"]).collect() }
    }

    fn place(&self, key: &str) -> String {
        let root = if key.starts_with(GENERATIONS) { &self.clean } else { &self.raw };
        format!("{root}{key}")
    }

    fn is_odd(&self) -> bool {
        self.raw != self.clean
    }
}

/// Listings start after a key: where one has to start so that this key itself is listed.
fn just_before(mut key: String) -> String {
    key.pop();
    key
}

fn object_info(object: Object, place: &str, prefix: &str) -> Result<KeyInfo, Reason> {
    let full = object.key.unwrap_or_default();
    let refuse = |why: &str| corrupt(format!("key {} {why}", printable(&full)));
    let name = full.strip_prefix(place).ok_or_else(|| refuse("is not below the prefix"))?;
    let size = object.size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| refuse("has no valid size"))?;
    let modified = object.last_modified.and_then(|at| timestamp(at.secs(), at.subsec_nanos()));
    let modified = modified.ok_or_else(|| refuse("has no valid time"))?;
    Ok(KeyInfo { key: format!("{prefix}{name}"), size, at: Dated::Uploaded(modified) })
}

/// The body of an answer, at most one frame more than was asked for.
async fn content(object: GetObjectOutput, offset: u64, length: u64, buffers: &Buffers) -> Result<Bytes, Reason> {
    let part = Part::of(object.content_range.as_deref(), true);
    part.begins_at(offset)?;
    // What is announced is not believed further than what was asked for.
    let announced = object.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0).min(length);
    let mut body = object.body;
    let mut content = buffers.take(usize::try_from(announced).unwrap_or(0));
    let mut filled = 0;
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let end = filled + frame.len();
        content.grow(end);
        content.bytes_mut()[filled..end].copy_from_slice(&frame);
        filled = end;
        if filled as u64 > length {
            break;
        }
    }
    part.holds(filled, offset, length)?;
    Ok(content.filled(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_as_litestream_joins_them() {
        let cases = [
            ("apps/one", "apps/one/0000/x", "apps/one/generations/g"),
            (".", "./0000/x", "generations/g"),
            ("", "/0000/x", "generations/g"),
            ("/a/b/", "/a/b//0000/x", "a/b/generations/g"),
            ("a//b", "a//b/0000/x", "a/b/generations/g"),
            ("a/./b/../c", "a/./b/../c/0000/x", "a/c/generations/g"),
        ];
        for (path, v05, v03) in cases {
            let root = Root::new(path);
            assert_eq!((root.place("0000/x"), root.place("generations/g")), (v05.to_owned(), v03.to_owned()), "{path}");
        }
    }
}
