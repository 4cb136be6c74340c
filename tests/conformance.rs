//! What every store promises, asked of every backend: memory, and each kind of store on real servers (`kinds`; one file a kind). Then
//! what no server should do, from a server that does it.
//!
//! The real servers are Python programs in `$STREAMGAUGE_LAB/py` (default `target/lab/py`). Where they are missing the
//! tests that need them fail, and say what installs them.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "these are tests")]

#[path = "conformance/abs.rs"]
mod abs;
#[path = "support/azurite.rs"]
mod azurite;
#[path = "support/certificates.rs"]
mod certificates;
#[path = "conformance/directory.rs"]
mod directory;
#[path = "conformance/endpoint_path.rs"]
mod endpoint_path;
#[path = "conformance/gs.rs"]
mod gs;
#[path = "conformance/hostile.rs"]
mod hostile;
#[path = "conformance/kinds.rs"]
mod kinds;
#[path = "conformance/memory.rs"]
mod memory;
#[path = "conformance/nats.rs"]
mod nats;
#[path = "conformance/oss.rs"]
mod oss;
#[path = "support/port.rs"]
mod port;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "conformance/s3.rs"]
mod s3;
#[path = "conformance/servers.rs"]
mod servers;
#[path = "conformance/sftp.rs"]
mod sftp;
#[path = "conformance/sftp_lies.rs"]
mod sftp_lies;
#[path = "support/sftp.rs"]
mod sftp_servers;
#[path = "conformance/suite.rs"]
mod suite;
#[path = "conformance/webdav.rs"]
mod webdav;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamgauge::domain::litestream::{Folder, LtxName, ObjectName, Txid};
use streamgauge::domain::reason::Reason;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, S3Location, StaticCredentials};
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::ReplicaStore;
use streamgauge::usecase::ports::Stores as _;
use streamgauge_testkit::ltx;

/// Credentials of the real servers, and of no other.
const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "testtesttest";

fn stores(timeout: Duration) -> Stores {
    Stores::new(StoreOptions { timeout, concurrency: 16, ca_file: None })
}

/// A path of a bucket on a server of this machine.
fn place(port: u16, bucket: &str, path: &str) -> S3Location {
    S3Location {
        bucket: bucket.to_owned(),
        path: path.to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        force_path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: Secret::new(SECRET_KEY),
            session_token: None,
        }),
        ..S3Location::default()
    }
}

fn open(place: S3Location) -> Arc<dyn ReplicaStore> {
    stores(Duration::from_secs(60)).open(&ReplicaLocation::S3(Box::new(place))).unwrap()
}

/// The file of level 0 that holds one TXID.
const fn ltx_name(txid: u64) -> ObjectName {
    ObjectName::Ltx { level: 0, name: LtxName { min: Txid(txid), max: Txid(txid) } }
}

/// Where most tests list, and what they read.
const LEVEL: Folder = Folder::Level(0);
const NAME: ObjectName = ltx_name(7);
const KEY: &str = "0000/0000000000000007-0000000000000007.ltx";

/// The key of a file of level 0.
fn key(txid: u64) -> String {
    format!("0000/{}", ltx::name(txid, txid))
}

/// What a read brought that has to bring something, or why not.
async fn read(store: &dyn ReplicaStore, name: ObjectName, offset: u64, length: u64) -> Result<Bytes, Reason> {
    store.read(name, offset, length).await?.required()
}

/// `kind: message | hint`.
fn told(reason: Reason) -> String {
    let hint = reason.hint.map(|hint| format!(" | {hint}")).unwrap_or_default();
    format!("{}: {}{hint}", reason.kind.as_str(), reason.message)
}
