//! `litestream.yml` as Litestream reads it. What Litestream itself makes of these files was asked from 0.5.17
//! (`litestream databases -config`) wherever that command shows it.

use streamgauge::domain::litestream::expiry::Written;
use streamgauge::domain::places::{AbsLocation, GsLocation, NatsLocation, OssLocation, SftpLocation, WebDavLocation};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::StaticCredentials;

use super::{Files, place};

fn litestream(text: &str) -> Files {
    let files = Files::new();
    files.write("litestream.yml", text);
    files
}

#[test]
fn the_sample_of_v03() {
    let files = litestream(
        "# /etc/litestream.yml
access-key-id: AKIA
secret-access-key: geheim
dbs:
  - path: /var/lib/app/production.db
    replicas:
      - type: s3
        bucket: my-backups
        path: production
        region: eu-west-1
        retention: 720h
        retention-check-interval: 1h
        sync-interval: 1s
        snapshot-interval: 4h
",
    );
    assert_eq!(
        files.targets(),
        ["production /var/lib/app/production.db [/var/lib/app/.production.db-litestream] -> \
          s3=s3[my-backups][production] eu-west-1 key:AKIA 1s {300s 720h 4h}"]
    );
    assert_eq!(files.warnings(), [""; 0]);
}

#[test]
fn several_replicas_are_v03() {
    let files = litestream(
        "dbs:
  - path: /a.db
    meta-path: /meta
    replicas:
      - {url: 's3://bkt.localhost:9000/a', retention: 720h, snapshot-interval: 4h}
      - {type: file, name: near, path: backup, retention: 48h, snapshot-interval: 12h, sync-interval: 10s}
      - {url: 'gcs://bkt/a', age: {recipients: [age1x]}, retention: 96h, snapshot-interval: 1h}
      - {url: 's3://other/a'}
",
    );
    assert_eq!(
        files.targets(),
        ["a /a.db [/meta] -> s3=s3[bkt][a] us-east-1 http://localhost:9000 path-style 1s, near=DIR/backup 10s, \
          gs=(gs) gs://bkt/a 1s encrypted, s3-2=s3[other][a] 1s {300s 24h 24h}"]
    );
}

#[test]
fn age_identities_of_v03_are_taken_over() {
    let files = Files::new();
    let replica = |keys: &str| format!("dbs: [{{path: /a.db, {keys}}}]");
    let identities = |yaml: &str| {
        files.write("litestream.yml", yaml);
        let loaded = files.load();
        let replica = &loaded.targets[0].replicas[0];
        (replica.encrypted, replica.age_identities.iter().map(|text| text.expose().to_owned()).collect::<Vec<_>>())
    };
    let age = "age: {identities: [AGE-SECRET-KEY-1A, AGE-SECRET-KEY-1B], recipients: [age1x]}";
    let both = vec!["AGE-SECRET-KEY-1A".to_owned(), "AGE-SECRET-KEY-1B".to_owned()];
    assert_eq!(identities(&replica(&format!("replicas: [{{url: 'file:///r', retention: 24h, {age}}}]"))), (true, both));
    let age = "age: {recipients: [age1x]}";
    assert_eq!(
        identities(&replica(&format!("replicas: [{{url: 'file:///r', retention: 24h, {age}}}]"))),
        (true, vec![])
    );
}

#[test]
fn a_directory_of_v05() {
    let files = Files::new();
    files.database("srv/one.db").database("srv/t/a/two.db").database("srv/t/b/two.db").write("srv/t/no.db", "text");
    files.write(
        "litestream.yml",
        "snapshot: {interval: 6h, retention: 168h}
dbs:
  - dir: srv
    pattern: '*.db'
    recursive: true
    watch: true
    replica:
      url: s3://bkt/base?region=eu-west-1
",
    );
    assert_eq!(
        files.targets(),
        [
            "a/two DIR/srv/t/a/two.db [DIR/srv/t/a/.two.db-litestream] -> s3=s3[bkt][base/t/a/two.db] eu-west-1 1s {300s 168h 6h}",
            "b/two DIR/srv/t/b/two.db [DIR/srv/t/b/.two.db-litestream] -> s3=s3[bkt][base/t/b/two.db] eu-west-1 1s {300s 168h 6h}",
            "one DIR/srv/one.db [DIR/srv/.one.db-litestream] -> s3=s3[bkt][base/one.db] eu-west-1 1s {300s 168h 6h}",
        ]
    );
    files.database("srv/three.db");
    assert_eq!(files.load().targets.len(), 4, "a new database is found by the next load");
}

#[test]
fn metadata_and_replicas_below_a_directory() {
    for (meta, expected) in [
        ("meta-path: meta", "DIR/meta/t/.a.db-litestream"),
        ("meta-dir: meta", "DIR/meta/t/a.db-litestream"),
        ("watch: no", "DIR/srv/t/.a.db-litestream"),
    ] {
        for (replica, place) in [
            ("{path: /backup/}", "file=/backup/t/a.db"),
            ("{type: s3, bucket: bkt}", "s3=s3[bkt][t/a.db]"),
            ("{type: s3, bucket: bkt, path: /lead//x/}", "s3=s3[bkt][/lead/x/t/a.db]"),
            ("{url: 's3://bkt'}", "s3=s3[bkt][t/a.db]"),
            ("{url: 'file:///backup'}", "file=/backup/t/a.db"),
            ("{url: 'gs://bkt/base/'}", "gs=(gs) gs://bkt/base/t/a.db"),
        ] {
            let files = Files::new();
            files.database("srv/t/a.db").write(
                "litestream.yml",
                format!(
                    "dbs:\n  - dir: srv\n    pattern: '*'\n    recursive: true\n    {meta}\n    replica: {replica}\n"
                ),
            );
            let expected = format!("a DIR/srv/t/a.db [{expected}] -> {place} 1s {{300s 24h 24h}}");
            assert_eq!(files.targets(), [expected], "{meta} {replica}");
        }
    }
}

#[test]
fn a_directory_without_databases_is_a_warning() {
    let files = Files::new();
    let text = "dbs:
  - {dir: DIR/srv, pattern: '*.db', replica: {url: 's3://b'}}
  - {dir: DIR/srv, pattern: '*.db', watch: true, replica: {url: 's3://b'}}
  - {dir: DIR/gone, pattern: '*.db', watch: true, replica: {url: 's3://b'}}
";
    let text = text.replace("DIR", &files.path().display().to_string());
    files.write("srv/x.db", "not a database").write("litestream.yml", text);
    assert_eq!(
        files.warnings(),
        [
            "DIR/litestream.yml:2: dbs[0].dir: value `DIR/srv`: no database matches `*.db`, so Litestream refuses to \
             start (unless `watch: true`)",
            "DIR/litestream.yml:3: dbs[1].dir: value `DIR/srv`: no database matches `*.db`",
            "DIR/litestream.yml:4: dbs[2].dir: value `DIR/gone`: read DIR/gone: no such file or directory",
        ]
    );
    let sources = files.load().sources;
    assert_eq!((sources.len(), sources[0].success, sources[0].databases, sources[0].warnings.len()), (1, false, 0, 3));
}

#[test]
fn the_places_of_v05() {
    for (replica, expected) in [
        ("path: /backup//a/", "/backup/a"),
        ("path: backup", "DIR/backup"),
        ("path: ~/backup", "/home/me/backup"),
        ("url: file:///abs/dir?x=y", "/abs/dir"),
        ("url: file://rel/x", "/rel/x"),
        ("url: file:///a%20b", "/a%20b"),
        ("url: s3://bkt", "s3[bkt][.]"),
        ("url: s3://bkt/", "s3[bkt][]"),
        ("url: s3://bkt//x//y/", "s3[bkt][x/y]"),
        (
            "url: 's3://bkt/x?endpoint=localhost:9000&skipVerify=true'",
            "s3[bkt][x] http://localhost:9000 path-style unverified",
        ),
        ("url: s3://bkt.s3.eu-west-1.amazonaws.com/x", "s3[bkt][x] eu-west-1"),
        ("url: s3://bkt.minio:9000/x", "s3[bkt][x] us-east-1 http://minio:9000 path-style"),
        ("{type: s3, bucket: bkt}", "s3[bkt][]"),
        ("{type: s3, bucket: bkt, path: /a//b/}", "s3[bkt][/a//b/]"),
        ("{type: s3, bucket: bkt, endpoint: minio.lan}", "s3[bkt][] https://minio.lan path-style"),
        ("{type: s3, bucket: bkt, endpoint: 'http://m:9000', force-path-style: off}", "s3[bkt][] http://m:9000"),
        (
            "{type: s3, bucket: bkt, endpoint: 'https://x.supabase.co/storage/v1/s3'}",
            "s3[bkt][] https://x.supabase.co/storage/v1/s3 path-style",
        ),
        (
            "url: 's3://bkt/x?endpoint=https://x.supabase.co/storage/v1/s3'",
            "s3[bkt][x] https://x.supabase.co/storage/v1/s3 path-style",
        ),
        ("{type: s3, bucket: bkt, region: 012, skip-verify: y}", "s3[bkt][] 012 unverified"),
        ("{type: file, url: 's3://bkt/x'}", "s3[bkt][x]"),
        ("url: gs://bkt/x", "(gs) gs://bkt/x"),
        ("{type: gs, bucket: bkt, path: x}", "(gs) gs://bkt/x"),
        ("url: abs://account@container/x", "(abs) abs://container/x"),
        ("url: sftp://me:geheim@host:22/x", "(sftp) sftp://host:22/x"),
        ("{type: sftp, host: 'host:22', user: me, password: geheim, path: /x}", "(sftp) sftp://host:22/x"),
        ("url: webdavs://me:geheim@host/x", "(webdav) webdavs://host/x"),
        ("{type: webdav, webdav-url: 'https://me:geheim@host/dav', path: x}", "(webdav) webdavs://host/dav/x"),
        ("url: nats://me:geheim@host:4222/bkt", "(nats) nats://host:4222/bkt"),
        ("url: oss://bkt.oss-cn-hangzhou.aliyuncs.com/x", "(oss) oss://bkt/x"),
    ] {
        let replica = if replica.starts_with('{') { replica.to_owned() } else { format!("\n      {replica}") };
        let files = litestream(&format!("dbs:\n  - path: /a.db\n    replica: {replica}\n"));
        let target = files.load().targets.remove(0);
        assert_eq!(files.short(&place(&target.replicas[0].location)), expected, "{replica}");
    }
}

#[test]
fn what_is_inherited_and_what_is_not() {
    let files = litestream(
        "bucket: shared
region: eu-west-1
endpoint: https://s3.example.org
skip-verify: true
sync-interval: 5s
access-key-id: AKIA
secret-access-key: geheim
dbs:
  - path: /a.db
    replica: {type: s3, path: a}
  - path: /b.db
    replica: {type: s3, path: b, bucket: own, region: r, endpoint: 'http://e', skip-verify: false, sync-interval: 9s, access-key-id: ID}
",
    );
    assert_eq!(
        files.targets(),
        [
            "a /a.db [/.a.db-litestream] -> s3=s3[shared][a] eu-west-1 https://s3.example.org path-style unverified key:AKIA 5s {300s 24h 24h}",
            "b /b.db [/.b.db-litestream] -> s3=s3[own][b] r http://e path-style unverified key:ID 9s {300s 24h 24h}",
        ]
    );
    let v03 = litestream(
        "bucket: shared\ndbs:\n  - path: /a.db\n    replicas: [{type: s3, bucket: b}, {path: /x, region: r}]\n",
    );
    assert!(v03.targets()[0].contains("s3[b][] 1s"), "v0.3 inherits nothing but keys: {:?}", v03.targets());
}

#[test]
fn objectives_follow_what_litestream_keeps() {
    for (text, expected) in [
        ("dbs: [{path: /a.db, replica: {path: /b}}]", "{300s 24h 24h}"),
        ("snapshot:\ndbs: [{path: /a.db, replica: {path: /b}}]", "{300s 24h 24h}"),
        ("snapshot: {retention: 720h}\ndbs: [{path: /a.db, replica: {path: /b}}]", "{300s 720h 24h}"),
        ("dbs: [{path: /a.db, snapshot: {interval: 2h}, replica: {path: /b}}]", "{300s 24h 2h}"),
        ("retention: {enabled: no}\ndbs: [{path: /a.db, replica: {path: /b}}]", "{300s - 24h}"),
        ("dbs: [{path: /a.db, replicas: [{path: /b}]}]", "{300s 24h -}"),
        ("dbs: [{path: /a.db, replicas: [{path: /b, retention: 48h}]}]", "{300s 48h 48h}"),
        // A snapshot is taken when the last one is as old as the retention.
        ("dbs: [{path: /a.db, replicas: [{path: /b, retention: 48h, snapshot-interval: 72h}]}]", "{300s 48h 48h}"),
        // Left behind by an upgrade: v0.5 does not read it there, and it is what is wanted all the same.
        ("dbs: [{path: /a.db, replica: {path: /b, retention: 720h}}]", "{300s 720h 24h}"),
        ("snapshot: {retention: 48h}\ndbs: [{path: /a.db, replica: {path: /b, retention: 720h}}]", "{300s 48h 24h}"),
    ] {
        let targets = litestream(text).targets();
        assert!(targets[0].ends_with(expected), "{text}: {}", targets[0]);
    }
}

#[test]
fn what_litestream_keeps_of_each_replica_is_known() {
    let seconds =
        |age: Option<std::time::Duration>| age.map_or_else(|| "all".to_owned(), |age| format!("{}", age.as_secs()));
    for (text, expected) in [
        ("dbs: [{path: /a.db, replica: {path: /b}}]", "86400 every 86400, level 0 300"),
        ("dbs: [{path: /a.db, replicas: [{path: /b}]}]", "86400 every 86400, level 0 300"),
        (
            "snapshot: {retention: 720h, interval: 6h}\nl0-retention: 1h\ndbs: [{path: /a.db, replica: {path: /b}}]",
            "2592000 every 21600, level 0 3600",
        ),
        ("l0-retention: 0s\ndbs: [{path: /a.db, replica: {path: /b}}]", "86400 every 86400, level 0 all"),
        ("retention: {enabled: no}\ndbs: [{path: /a.db, replica: {path: /b}}]", "all every 86400, level 0 all"),
        (
            "dbs: [{path: /a.db, replicas: [{path: /b, retention: 48h, retention-check-interval: 10m}]}]",
            "172800 every 600, level 0 all",
        ),
    ] {
        let targets = litestream(text).load().targets;
        let kept = targets[0].replicas[0].kept.expect("known");
        let shown =
            format!("{} every {}, level 0 {}", seconds(kept.snapshots), kept.every.as_secs(), seconds(kept.level0));
        assert_eq!(shown, expected, "{text}");
    }
}

#[test]
fn warns_of_what_is_surely_not_meant() {
    let files = litestream(
        "dbs:
  - path: /a.db
    monitor-interval: 5
    sync-interval: 1s
    replica:
      url: gcs://bkt/a
      acess-key-id: geheim
      sync-interval: 10
      retention: 720h
      snapshot-interval: 4h
      age: {recipients: [age1x], identites: [geheim]}
  - path: /a.db
    path: /b.db
    replica: {url: 'gs://bkt/a'}
  - path: /c.db
  - path: /b.db
    replica: {url: 'gs://bkt/b'}
logging: {levl: debug}
socket: {enable: true}
levels: [{intervall: 30s}]
exec: $UNKNOWN
",
    );
    let at = |line: usize, text: &str| format!("DIR/litestream.yml:{line}: {text}");
    let go = "a duration with a unit of ns, us, ms, s, m or h, such as 1s or 24h";
    let unit = "no unit: Litestream takes it for nanoseconds";
    let unknown = "unknown key, which Litestream ignores";
    assert_eq!(
        files.warnings(),
        [
            "DIR/litestream.yml: $UNKNOWN: not set in this process's environment; replaced with nothing, as \
             Litestream would do"
                .to_owned(),
            at(3, &format!("dbs[0].monitor-interval: value `5`: {unit}; accepted: {go}")),
            at(4, &format!("dbs[0].sync-interval: {unknown}")),
            at(6, "dbs[0].replica.url: Litestream v0.5 refuses `gcs`; it wants `gs`"),
            at(7, &format!("dbs[0].replica.acess-key-id: {unknown}; did you mean `access-key-id`?")),
            at(8, &format!("dbs[0].replica.sync-interval: value `10`: {unit}; accepted: {go}")),
            at(
                9,
                "dbs[0].replica.retention: Litestream v0.5 ignores it here and keeps `snapshot.retention`, 24h unless set at the top"
            ),
            at(
                10,
                "dbs[0].replica.snapshot-interval: Litestream v0.5 ignores it here; set `snapshot.interval` at the top"
            ),
            at(11, &format!("dbs[0].replica.age.identites: {unknown}; did you mean `identities`?")),
            at(
                11,
                "dbs[0].replica.age: Litestream v0.5 does not encrypt: 0.5.0 writes plain text, later ones refuse to start"
            ),
            at(12, "dbs[1]: /a.db and /b.db share the replica gs://bkt/a"),
            at(13, "path: given twice in the same place; the last one counts"),
            at(15, "dbs[2]: no replica: the database is not backed up"),
            at(16, "dbs[3]: value `/b.db`: names a database twice, so Litestream 0.5.17 refuses to start"),
            at(18, &format!("logging.levl: {unknown}; did you mean `level`?")),
            at(19, &format!("socket.enable: {unknown}; did you mean `enabled`?")),
            at(20, &format!("levels[0].intervall: {unknown}; did you mean `interval`?")),
        ]
    );
    assert_eq!(files.load().targets.len(), 3);
    assert!(files.targets()[0].contains("10ns"), "a bare integer is nanoseconds: {:?}", files.targets());
}

/// Who left `retention` behind and names the endpoint in the URL has a v0.5, which alone reads it there.
#[test]
fn parameters_of_a_url_are_v05() {
    let files = litestream(
        "dbs: [{path: /a.db, replicas: [{url: 's3://bkt/x?endpoint=https://x.supabase.co/storage/v1/s3', retention: 720h}]}]",
    );
    assert!(
        files.targets()[0].contains("s3[bkt][x] https://x.supabase.co/storage/v1/s3 path-style"),
        "{:?}",
        files.targets()
    );
    assert!(files.warnings()[0].contains("Litestream v0.5 ignores it here"), "{:?}", files.warnings());
}

#[test]
fn v05_has_one_replica() {
    let files = litestream("levels: []\ndbs: [{path: /a.db, replicas: [{path: /b}, {path: /c}]}]");
    assert_eq!(
        files.warnings(),
        ["DIR/litestream.yml:2: dbs[0]: Litestream v0.5 refuses more than one replica of a database"]
    );
    assert!(files.targets()[0].contains("file=/b 1s, file-2=/c 1s"), "{:?}", files.targets());
}

#[test]
fn variables_are_expanded_in_the_raw_text() {
    let mut files = litestream("dbs:\n  - path: $DIRECTORY/a.db # $NOTHING\n${REPLICA}\n");
    files.set("DIRECTORY", "/srv").set("REPLICA", "    replica:\n      url: s3://bkt/a");
    assert!(files.targets()[0].starts_with("a /srv/a.db [/srv/.a.db-litestream] -> s3=s3[bkt][a]"));
    assert_eq!(files.warnings(), [""; 0]);

    let mut raw = litestream("dbs: [{path: /srv/$A.db, replica: {path: /b}}]");
    raw.set("A", "expanded").set("STREAMGAUGE__LITESTREAM__EXPAND_ENV", "false");
    assert!(raw.targets()[0].starts_with("$A /srv/$A.db"), "{:?}", raw.targets());
}

#[test]
fn credentials_come_from_where_litestream_takes_them() {
    const KEYED: &str = "dbs: [{path: /a.db, replica: {url: 's3://bkt/a', access-key-id: FILE, secret-access-key: s}}]";
    const HALF: &str = "dbs: [{path: /a.db, replica: {url: 's3://bkt/a', access-key-id: FILE}}]";
    for (text, environment, expected) in [
        (KEYED, vec!["LITESTREAM_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY"], "key:FILE"),
        (HALF, vec!["LITESTREAM_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY"], "key:LITESTREAM_ACCESS_KEY_ID"),
        (HALF, vec!["AWS_ACCESS_KEY_ID", "LITESTREAM_SECRET_ACCESS_KEY"], "key:AWS_ACCESS_KEY_ID"),
        (HALF, vec!["LITESTREAM_ACCESS_KEY_ID"], "s3[bkt][a]"),
        // What the usual chain finds by itself is left to it.
        (HALF, vec!["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LITESTREAM_ACCESS_KEY_ID"], "s3[bkt][a]"),
    ] {
        let mut files = litestream(text);
        for name in &environment {
            files.set(name, name);
        }
        let location = place(&files.load().targets[0].replicas[0].location);
        assert!(location.ends_with(expected), "{environment:?}: {location}");
    }
}

/// Litestream asks for each by itself: the file's comes before the environment's, and a token before a key.
#[test]
fn the_environment_of_clouds_is_read_as_litestream_reads_it() {
    let load = |replica: &str, environment: &[(&str, &str)]| {
        let mut files = litestream(&format!("dbs: [{{path: /a.db, {replica}}}]"));
        for (name, value) in environment {
            files.set(name, value);
        }
        files.load().targets.remove(0).replicas.remove(0).location.clone()
    };
    let secrets = [("LITESTREAM_AZURE_SAS_TOKEN", "sas"), ("LITESTREAM_AZURE_ACCOUNT_KEY", "key")];
    for (replica, sas, key) in [
        ("replica: {url: 'abs://me@box'}", Some("sas"), "key"),
        ("replica: {url: 'abs://me@box', account-key: own, sas-token: mine}", Some("mine"), "own"),
        ("replicas: [{url: 'abs://me@box', retention: 1h}]", None, "key"),
    ] {
        let place = load(replica, &secrets);
        let place = place.abs().unwrap();
        let found = [&place.sas_token, &place.account_key].map(|secret| secret.as_ref().map(Secret::expose));
        assert_eq!(found, [sas, Some(key)], "{replica}");
    }
    for (value, expected) in [
        ("", None),
        ("localhost:9023", Some("http://localhost:9023")),
        ("https://localhost:9023/storage/v1/", Some("https://localhost:9023")),
    ] {
        let place = load("replica: {url: 'gs://bkt/a'}", &[("STORAGE_EMULATOR_HOST", value)]);
        assert_eq!(place.endpoint(), expected, "{value}");
    }
}

#[test]
fn anchors_and_merge_keys_work() {
    let files = litestream(
        "x: &common
  type: s3
  bucket: bkt
dbs:
  - path: /a.db
    replica: {<<: *common, path: a}
  - path: /b.db
    replica:
      bucket: own
      <<: *common
",
    );
    let targets = files.targets();
    // As in 0.3.13 and 0.5.17, where what is read last counts.
    assert!(targets[0].contains("s3[bkt][a]") && targets[1].contains("s3[bkt][]"), "{targets:?}");
}

#[test]
fn customer_keys_are_read_from_their_file() {
    let files = Files::new();
    files
        .write("key", "MDEy\n")
        .write("litestream.yml", "dbs: [{path: /a.db, replica: {url: 's3://b', sse-customer-key-path: key}}]");
    let target = files.load().targets.remove(0);
    let streamgauge::domain::target::ReplicaLocation::S3(s3) = &target.replicas[0].location else {
        panic!("{target:?}")
    };
    assert_eq!(s3.sse_customer_key.as_ref().map(|key| key.expose()), Some("MDEy"));
}

/// Keys of kinds with credentials of their own, from the replica, its URL and the top of the file.
#[test]
fn every_kind_has_its_keys() {
    let location = |top: &str, replica: &str| {
        let files = litestream(&format!("{top}\ndbs:\n  - path: /a.db\n    replica: {replica}\n"));
        files.load().targets.remove(0).replicas.remove(0).location.clone()
    };
    let secret = |text: &str| Some(Secret::new(text));
    let file = |path: &str| Some(std::path::PathBuf::from(path));

    let gs = location("", "{url: 'gs://bkt//x/'}");
    assert_eq!(gs.gs(), Some(&GsLocation { bucket: "bkt".into(), path: "x".into(), ..Default::default() }));
    let abs = AbsLocation {
        account: "me".into(),
        container: "box".into(),
        endpoint: Some("https://me.blob.core.windows.net".into()),
        account_key: secret("k"),
        sas_token: secret("s"),
        ..AbsLocation::default()
    };
    let keys = "account-key: k\nsas-token: s";
    assert_eq!(location(keys, "{url: 'abs://me@box'}").abs(), Some(&abs));
    assert_eq!(location(keys, "{type: abs, bucket: box, account-name: me}").abs(), Some(&abs));
    let emulated = location("", "{type: abs, bucket: box, account-name: me, endpoint: 'http://127.0.0.1:1/me'}");
    assert_eq!(emulated.endpoint(), Some("http://127.0.0.1:1/me"));
    let sftp = SftpLocation {
        host: "host:22".into(),
        user: "me".into(),
        path: "/x".into(),
        password: secret("p/w"),
        key_path: file("/id"),
        host_key: Some("ssh-ed25519 AAAA".into()),
    };
    let keys = "key-path: /id, host-key: ssh-ed25519 AAAA";
    assert_eq!(location("", &format!("{{url: 'sftp://me:p%2Fw@host:22/x', {keys}}}")).sftp(), Some(&sftp));
    let written = format!("{{type: sftp, host: 'host:22', user: me, password: p/w, path: /x, {keys}}}");
    assert_eq!(location("", &written).sftp(), Some(&sftp));
    let webdav = WebDavLocation {
        endpoint: "https://host/dav".into(),
        path: "x/y".into(),
        username: "me".into(),
        password: secret("p"),
        ca_file: None,
    };
    let written =
        "{type: webdav, webdav-url: 'https://host/dav/', webdav-username: me, webdav-password: p, path: /x//y/}";
    assert_eq!(location("", written).webdav(), Some(&webdav));
    let of_url = location("", "{url: 'webdavs://me:p@host/dav/x/y'}");
    assert_eq!((of_url.url(), of_url.identity()), ("webdavs://host/dav/x/y".into(), " webdavs://host/dav/x/y".into()));
    assert_eq!(of_url.webdav().map(|place| (place.username.as_str(), place.password.is_some())), Some(("me", true)));
    let nats = NatsLocation {
        server: "host:4222".into(),
        bucket: "bkt".into(),
        jwt: secret("j"),
        seed: secret("s"),
        creds: file("/c"),
        nkey: secret("n"),
        username: "me".into(),
        password: secret("p"),
        token: secret("t"),
        tls: true,
        root_cas: vec!["/r1".into(), "/r2".into()],
        client_cert: file("/cert"),
        client_key: file("/key"),
    };
    let written = "{url: 'nats://host:4222/bkt', jwt: j, seed: s, creds: /c, nkey: n, username: me, password: p, token: t, \
                   tls: true, root-cas: [/r1, /r2], client-cert: /cert, client-key: /key}";
    assert_eq!(location("", written).nats(), Some(&nats));
    let oss =
        location("access-key-id: id\nsecret-access-key: s", "{url: 'oss://bkt.oss-eu-west-1-internal.aliyuncs.com/x'}");
    let credentials =
        StaticCredentials { access_key_id: "id".into(), secret_access_key: Secret::new("s"), session_token: None };
    let expected = OssLocation {
        bucket: "bkt".into(),
        path: "x".into(),
        region: "eu-west-1".into(),
        credentials: Some(credentials),
        ..OssLocation::default()
    };
    assert_eq!(oss.oss(), Some(&expected));
    assert_eq!(location("", "{type: oss, bucket: bkt}").region(), Some("cn-hangzhou"));
}

/// What decides how many objects Litestream writes, and what each costs.
#[test]
fn how_litestream_writes_is_read_for_its_cost() {
    let files = litestream(
        "l0-retention-check-interval: 1m
storage-class: ONEZONE_IA
dbs:
  - {path: /a.db, monitor-interval: 10s, replica: {url: 's3://bkt/a', storage-class: STANDARD_IA}}
  - {path: /b.db, replica: {url: 's3://bkt/b'}}
  - {path: /c.db, replica: {url: 's3://bkt/c?storageClass=GLACIER_IR'}}
",
    );
    let told = files.load().targets.into_iter().map(|target| {
        let Written { every, level0_check, class } = target.replicas[0].written.clone();
        format!("{every:?} {level0_check:?} {}", class.unwrap_or_default())
    });
    let expected = ["Some(10s) Some(60s) STANDARD_IA", "None Some(60s) ONEZONE_IA", "None Some(60s) ONEZONE_IA"];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let files = litestream("dbs: [{path: /c.db, replica: {url: 's3://bkt/c?storage-class=GLACIER_IR'}}]");
    assert_eq!(files.load().targets[0].replicas[0].written.class.as_deref(), Some("GLACIER_IR"));
}
