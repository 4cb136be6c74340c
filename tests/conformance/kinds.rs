//! Each kind of store in the suite, on at least one server, and that none is left out.

use std::time::Duration;

use streamgauge::domain::places::{GsLocation, NatsLocation, OssLocation, SftpLocation};
use streamgauge::domain::price::usual_prices;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::infrastructure::store::{is_supported, kinds};
use streamgauge::usecase::ports::Stores as _;

use crate::{directory, nats, oss, s3, stores, suite, told, webdav};
#[cfg(feature = "sftp")]
use crate::sftp;

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
    "file" by directory::plain as a_directory_keeps_the_promises;
    "file" by directory::copied_from_a_bucket as a_directory_with_the_keys_of_a_bucket_keeps_the_promises;
    "oss" by oss::rclone as rclone_keeps_the_promises_as_oss;
    "oss" by oss::moto as moto_keeps_the_promises_as_oss;
    "s3" by s3::moto as moto_keeps_the_promises;
    "nats" by nats::server as nats_keeps_the_promises;
    "s3" by s3::rclone as rclone_keeps_the_promises;
    "webdav" by webdav::rclone as rclone_keeps_the_promises_as_webdav;
    "webdav" by webdav::apache as apache_keeps_the_promises;
    "sftp" by sftp::openssh as openssh_keeps_the_promises;
    "sftp" by sftp::rclone as rclone_keeps_the_promises_of_sftp;
}

#[test]
fn each_kind_runs_in_the_suite_and_has_prices() {
    for kind in kinds() {
        assert!(SERVED.contains(&kind), "{kind} has no server in `served!`");
        assert!(usual_prices(kind, "").is_some(), "{kind} has no row in domain/price.rs");
    }
}

#[test]
fn a_kind_that_cannot_be_read_is_refused_with_its_name() {
    for location in [
        ReplicaLocation::Gs(Box::new(GsLocation { bucket: "bkt".into(), path: "app".into(), ..Default::default() })),
        ReplicaLocation::Abs(Box::default()),
        ReplicaLocation::Sftp(Box::new(SftpLocation {
            host: "host".into(),
            path: "/app".into(),
            ..Default::default()
        })),
        ReplicaLocation::WebDav(Box::default()),
        ReplicaLocation::Nats(Box::new(NatsLocation { bucket: "bkt".into(), ..Default::default() })),
        ReplicaLocation::Oss(Box::new(OssLocation { bucket: "bkt".into(), ..Default::default() })),
    ] {
        let (kind, url) = (location.kind(), location.url());
        if is_supported(&location) {
            continue;
        }
        let refused = stores(Duration::from_secs(1)).open(&location).err().unwrap();
        let expected = format!("unsupported: open {url}: replicas of type {kind} cannot be read by this version");
        assert_eq!(told(refused), expected);
    }
}
