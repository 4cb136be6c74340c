//! Our restore of v0.3 replicas against the genuine one: bytes, times in between, encryption, and what is damaged.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "these are tests")]

#[path = "restore_v3/damage.rs"]
mod damage;
#[path = "support/faulty_store.rs"]
mod faulty_store;
mod lab;
#[path = "restore_v3/ours.rs"]
mod ours;
#[path = "restore_v3/site.rs"]
mod site;
#[path = "restore_v3/stores.rs"]
mod stores;

use std::fs;

use jiff::{SignedDuration, Timestamp};
use lab::Lab;
use ours::{Ours, restore};
use site::{Replica, Site};
use streamgauge::domain::litestream::{PlanTarget, Txid};
use streamgauge::domain::reason::ReasonKind;

/// Times of one replica at which both restore.
const TIMES: usize = 4;

#[test]
fn restores_what_litestream_restores() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let site = Site::make(&lab, home.path());
    for replica in &site.replicas {
        latest(&lab, &site, replica);
        times(&lab, &site, replica);
    }
    refusals(&site);
    encryption(&site);
    damage::all(&lab, &site);
    stores::all(&lab, &site);
}

/// The latest state, byte for byte as 0.3.13 and 0.5.17 restore it.
fn latest(lab: &Lab, site: &Site, replica: &Replica) {
    let ours = replica.ours(PlanTarget::Latest).unwrap();
    assert_eq!(ours.plan.notes, Vec::<String>::new(), "{}", replica.name);
    assert!(ours.plan.shortfall.is_none() && ours.plan.objects.len() > 5, "{}: {:?}", replica.name, ours.plan);
    let genuine = replica.genuine(lab, site, None).unwrap();
    assert!(ours.database == genuine, "{}: differs from what 0.3.13 restores", replica.name);
    // The writer's last look at the database before it was closed; Litestream has counted on in its own table.
    let (rows, pages) = (ours.query("SELECT count(*), sum(length(b)) FROM t"), ours.query("PRAGMA page_size"));
    assert_eq!((rows, pages), (replica.rows.clone(), format!("[{}]", replica.page_size)));
    assert_eq!(ours.query("PRAGMA integrity_check"), "[\"ok\"]");
    let restored = &ours.restored;
    assert_eq!(restored.bytes, genuine.len() as u64);
    assert_eq!(restored.downloaded_bytes, ours.plan.bytes());
    assert_eq!(restored.requests, ours.plan.objects.len() as u64, "one request an object");
    assert_eq!(restored.bytes, u64::from(restored.pages) * u64::from(restored.page_size));
    assert_eq!(
        restored.objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>(),
        ours.plan.objects.iter().map(|object| ours.plan.key(object)).collect::<Vec<_>>()
    );
    if !replica.encrypted() {
        let checksum = |object: &streamgauge::domain::restore::RestoredObject| {
            let content = fs::read(replica.folder.join(&object.key)).unwrap();
            let last: [u8; 4] = *content.last_chunk().unwrap();
            (object.checksum.clone(), format!("{:08x}", u32::from_le_bytes(last)))
        };
        assert!(restored.objects.iter().map(checksum).all(|(ours, theirs)| ours == theirs), "{}", replica.name);
        let newer = replica.genuine_v05(lab, None).unwrap();
        assert!(ours.database == newer, "{}: differs from what 0.5.17 restores", replica.name);
        let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
        let url = format!("file://{}", replica.folder.display());
        let streamed = command.args(["restore", "-q", &url, "-o", "-"]).output().unwrap();
        let same = streamed.status.success() && streamed.stdout == genuine;
        assert!(same, "{}: {}", replica.name, String::from_utf8_lossy(&streamed.stderr));
    }
}

/// Times at which something was uploaded, just before, and between two generations.
fn times(lab: &Lab, site: &Site, replica: &Replica) {
    let mut uploads: Vec<Timestamp> = replica.objects().into_iter().map(|(_, modified)| modified).collect();
    uploads.sort_unstable();
    let mut compared = 0;
    for number in 0..TIMES {
        let upload = uploads[number * (uploads.len() - 1) / (TIMES - 1)];
        // A bucket's listing has milliseconds.
        for at in [upload, upload - SignedDuration::from_millis(1)] {
            let ours = replica.ours(PlanTarget::Time(at));
            match replica.genuine(lab, site, Some(at)) {
                Ok(genuine) => {
                    let ours = ours.unwrap_or_else(|reason| panic!("{} at {at}: {reason}", replica.name));
                    assert!(ours.database == genuine, "{} at {at}: {:?}", replica.name, ours.plan);
                    assert!(ours.plan.through <= at && ours.plan.shortfall.is_none());
                    // Of a bucket's files the times are finer than those of its objects.
                    if at == upload && ours.plan.notes.is_empty() && !replica.encrypted() && replica.bucket.is_none() {
                        let newer = replica.genuine_v05(lab, Some(at)).unwrap();
                        assert!(ours.database == newer, "{} at {at}: 0.5.17 restores another state", replica.name);
                    }
                    compared += 1;
                }
                Err(error) => refused(&error, ours, at),
            }
        }
    }
    assert!(compared >= TIMES, "{}: {compared} times compared", replica.name);
}

/// What 0.3.13 refuses, we refuse as well, or restore with a word about it.
fn refused(error: &str, ours: Result<Ours, streamgauge::domain::reason::Reason>, at: Timestamp) {
    match ours {
        // It takes an index without a segment for a broken one (fixed in 0.3.14).
        Ok(ours) if error.contains("panic") => assert_eq!(ours.plan.objects.len(), 1, "{error}"),
        Ok(ours) => assert!(ours.plan.notes.iter().any(|note| note.contains("refuses")), "at {at}: {error}"),
        Err(reason) => {
            assert_eq!(reason.kind, ReasonKind::NotFound, "{reason}");
            assert!(reason.hint.as_ref().is_some_and(|hint| hint.contains("the earliest time")), "{reason:?}");
        }
    }
}

fn refusals(site: &Site) {
    let replica = &site.replicas[0];
    let reason = replica.ours(PlanTarget::Txid(Txid(1))).unwrap_err();
    assert_eq!(reason.to_string(), "plan restore: no TXID 0000000000000001: a v0.3 replica has none");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(restore(empty.path(), PlanTarget::Latest, &[]).unwrap_err().kind, ReasonKind::NotFound);
}

/// Without the right identity nothing is restored, and the reason says what to do.
fn encryption(site: &Site) {
    let replica = site.replicas.iter().find(|replica| replica.encrypted()).unwrap();
    let other = site::identity();
    let cases: [(&[String], &str); 2] =
        [(&[], "encrypted with age"), (std::slice::from_ref(&other.0), "encrypted with age for other identities")];
    for (identities, expected) in cases {
        let reason = restore(&replica.folder, PlanTarget::Latest, identities).unwrap_err();
        assert!(reason.message.ends_with(&format!(".snapshot.lz4: {expected}")), "{reason}");
        assert!(reason.hint.is_some_and(|hint| hint.contains("age-identity-file")));
    }
    // One of several is enough, with the comments that age-keygen writes.
    let all = [format!("# created: today\n{}\n\n{}\n", other.0, replica.identities[0])];
    assert!(restore(&replica.folder, PlanTarget::Latest, &all).is_ok());
    let reason = restore(&replica.folder, PlanTarget::Latest, &["AGE-SECRET-KEY-1GEHEIM".to_owned()]).unwrap_err();
    assert!(reason.kind == ReasonKind::Misconfigured && !reason.message.contains("GEHEIM"), "{reason}");
}
