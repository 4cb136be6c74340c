//! Each kind of store in the suite, on at least one server, and that none is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use streamgauge::domain::price::usual_prices;
use streamgauge::domain::target::{ReplicaLocation, StoreKind};
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
    }
    for kind in StoreKind::ALL {
        assert!(usual_prices(*kind, "").is_some(), "{kind:?} has no row in domain/price.rs");
    }
}

#[test]
fn each_kind_has_a_page_that_says_what_all_of_them_do() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let overview = fs::read_to_string(docs.join("BACKENDS.md")).unwrap();
    for kind in kinds() {
        let row = overview.lines().find(|line| line.starts_with(&format!("| `{kind}`")));
        let row = row.unwrap_or_else(|| panic!("docs/BACKENDS.md has no row for {kind}"));
        assert!(row.ends_with(&format!("| [{kind}](backends/{kind}.md) |")), "{row}");
        let path = docs.join(format!("backends/{kind}.md"));
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for heading in ["## Least privileges", "## What a look costs", "## Proved against"] {
            let said =
                page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
            assert!(said.map(str::len).sum::<usize>() > 20, "docs/backends/{kind}.md says nothing under {heading:?}");
        }
    }
    let pages = fs::read_dir(docs.join("backends")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.map(|page| page.file_stem().unwrap().to_str().unwrap().to_owned());
    assert_eq!(pages.collect::<BTreeSet<_>>(), kinds().map(str::to_owned).collect(), "pages in docs/backends");
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
        assert!(is_supported(location), "{:?}", location.kind());
    }
    let listed = locations.iter().map(|location| location.kind().as_str());
    assert_eq!(listed.collect::<BTreeSet<_>>(), kinds().collect());
}
