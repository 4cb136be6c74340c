//! Each kind of store in the suite, on at least one server, and that none is left out.

use std::collections::BTreeSet;

use streamgauge::domain::price::usual_prices;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::infrastructure::store::{is_supported, kinds};

use crate::{abs, directory, gs, nats, oss, s3, sftp, suite, webdav};

/// A kind, the function that starts a server of it with an empty replica, and the name of the test.
macro_rules! served {
    ($($kind:literal by $start:path as $test:ident;)*) => {
        const SERVED: &[&str] = &[$($kind),*];
        $(#[tokio::test]
        async fn $test() {
            suite::run(&*$start().await).await;
        })*
    };
}

served! {
    "abs" by abs::azurite as azurite_keeps_the_promises;
    "file" by directory::plain as a_directory_keeps_the_promises;
    "file" by directory::copied_from_a_bucket as a_directory_with_the_keys_of_a_bucket_keeps_the_promises;
    "gs" by gs::emulator as an_emulator_of_gs_keeps_the_promises;
    "gs" by gs::paged as gs_with_pages_keeps_the_promises;
    "nats" by nats::server as nats_keeps_the_promises;
    "oss" by oss::moto as moto_keeps_the_promises_as_oss;
    "oss" by oss::rclone as rclone_keeps_the_promises_as_oss;
    "s3" by s3::moto as moto_keeps_the_promises;
    "s3" by s3::rclone as rclone_keeps_the_promises;
    "sftp" by sftp::openssh as openssh_keeps_the_promises;
    "sftp" by sftp::rclone as rclone_keeps_the_promises_of_sftp;
    "webdav" by webdav::apache as apache_keeps_the_promises;
    "webdav" by webdav::rclone as rclone_keeps_the_promises_as_webdav;
}

#[test]
fn each_kind_runs_in_the_suite_and_has_prices() {
    for kind in SERVED {
        assert!(kinds().any(|known| known == *kind), "{kind} is no kind");
    }
    for kind in kinds() {
        assert!(SERVED.contains(&kind), "{kind} has no server in `served!`");
        assert!(usual_prices(kind, "").is_some(), "{kind} has no row in domain/price.rs");
    }
}

#[test]
fn every_kind_of_litestream_can_be_read() {
    let locations = [
        ReplicaLocation::Directory("/replica".into()),
        ReplicaLocation::S3(Box::default()),
        ReplicaLocation::Gs(Box::default()),
        ReplicaLocation::Abs(Box::default()),
        ReplicaLocation::Sftp(Box::default()),
        ReplicaLocation::WebDav(Box::default()),
        ReplicaLocation::Nats(Box::default()),
        ReplicaLocation::Oss(Box::default()),
    ];
    for location in &locations {
        assert!(is_supported(location), "{}", location.kind());
    }
    let listed = locations.iter().map(ReplicaLocation::kind);
    assert_eq!(listed.collect::<BTreeSet<_>>(), kinds().collect());
}
