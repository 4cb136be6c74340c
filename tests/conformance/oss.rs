//! OSS as S3, on servers of S3: `rclone serve s3` without keys, which Litestream's own client of OSS can write to as well,
//! and moto. What only Alibaba's own servers show is in docs/backends/oss.md.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamgauge::domain::litestream::LevelKeys;
use streamgauge::domain::places::OssLocation;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, StaticCredentials};
use streamgauge::usecase::ports::Stores as _;
use streamgauge_testkit::http::{Answer, Server as Fake};
use streamgauge_testkit::s3::listing;

use crate::directory::Files;
use crate::servers::{Server, program};
use crate::suite::{Backend, names};
use crate::{LEVEL, NAME, s3, stores, told};

fn location(port: u16) -> ReplicaLocation {
    ReplicaLocation::Oss(Box::new(OssLocation {
        bucket: "bkt".to_owned(),
        path: "app".to_owned(),
        region: "cn-hangzhou".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        credentials: Some(StaticCredentials {
            access_key_id: "LTAIexample".to_owned(),
            secret_access_key: Secret::new("verysecret"),
            session_token: Some(Secret::new("passing")),
        }),
        ca_file: None,
    }))
}

pub(crate) async fn rclone() -> Box<dyn Backend> {
    let server = Server::start(|port, directory| {
        std::fs::create_dir(directory.join("bkt")).unwrap();
        let mut command = Command::new(program("rclone"));
        command.args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}"), "--config", "", "--dir-cache-time", "0s"]);
        command.arg(directory);
        command
    });
    let (root, location) = (server.directory().join("bkt/app"), location(server.port));
    let store = stores(Duration::from_secs(60)).open(&location).unwrap();
    Box::new(Files { root, location, store, keys: LevelKeys::Hex, kept: Box::new(server) })
}

pub(crate) async fn moto() -> Box<dyn Backend> {
    s3::moto_as(location).await
}

#[tokio::test]
async fn requests_are_signed_for_the_region_and_refusals_speak_of_oss() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let server = Fake::start(move |request| {
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        seen.lock().unwrap().push((header("authorization"), header("x-amz-security-token")));
        match request.parameter("prefix").as_deref() {
            Some("app/0000/") => {
                Answer::xml(200, &listing(&[("app/0000/0000000000000007-0000000000000007.ltx".to_owned(), 9)], false))
            }
            _ => Answer::xml(403, "<Error><Code>AccessDenied</Code><Message>You have no right.</Message></Error>"),
        }
    });
    let server = server.unwrap();
    let store = stores(Duration::from_secs(60)).open(&location(server.port())).unwrap();
    assert_eq!(names(&*store, LEVEL, None).await.0, [NAME]);
    let (authorization, token) = asked.lock().unwrap()[0].clone();
    assert!(authorization.contains("Credential=LTAIexample/") && authorization.contains("/cn-hangzhou/s3/"));
    assert_eq!(token, "passing");
    let refused = told(store.layouts().await.unwrap_err());
    assert!(refused.starts_with("denied: list oss://bkt/app/: "), "{refused}");
    let refused = stores(Duration::from_secs(60)).beacon(&location(server.port())).unwrap().put("x".into()).await;
    let beacon = told(refused.unwrap_err());
    assert!(beacon.starts_with("denied: write oss://bkt/app.streamgauge/beacon.json: "), "{beacon}");
    for told in [refused_text(&server).await, beacon] {
        assert!(!told.contains("verysecret") && !told.contains("s3:"), "{told}");
    }
    let posture = stores(Duration::from_secs(1)).bucket(&location(server.port())).unwrap().posture().await;
    assert_eq!((posture.versioning_enabled, posture.public, posture.object_lock_enabled), (None, None, None));
    assert_eq!(posture.reason.unwrap().kind.as_str(), "unsupported");
}

async fn refused_text(server: &Fake) -> String {
    let store = stores(Duration::from_secs(60)).open(&location(server.port())).unwrap();
    told(store.read(NAME, 0, 1).await.unwrap_err())
}
