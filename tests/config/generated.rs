//! Configurations of both dialects, made of what people write and of what goes wrong; a seed gives the same each time.

use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V03,
    V05,
}

impl Dialect {
    pub(super) fn release(self) -> &'static str {
        match self {
            Self::V03 => "0.3.13",
            Self::V05 => "0.5.17",
        }
    }
}

/// Choices that follow from a seed, so that each run makes the same.
struct Choices(u64);

impl Choices {
    fn number(&mut self, below: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    }

    fn of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.number(from.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.number(times) == 0
    }
}

/// With a number in the place of `№`.
const PATHS: &[&str] = &[
    "/srv/№.db",
    "data/№.db",
    "~/№.db",
    "$DATA/№.db",
    "${DATA}/№.db",
    "/x//y/.././№.db",
    "'/srv/№.db'",
    "\"/srv/№.db\"",
    "~x/№.db",
    "/srv/№",
    "./№.db",
    "../№.db",
];

/// Places that both releases know.
const BOTH: &[&str] = &[
    "path: /b/№",
    "type: file, path: b/№",
    "path: ~/b/№",
    "url: 'file:///b/№'",
    "url: 'file://b/№?x=y'",
    "type: s3, bucket: bkt, path: p/№",
    "type: s3, bucket: $BUCKET, path: /p/№",
    "url: 's3://bkt/№'",
    "url: 's3://$BUCKET/№'",
    "url: 's3://bkt-№'",
    "url: 's3://id:pw@bkt/№'",
    "url: 's3://bkt.localhost:9000/№'",
    "url: 's3://bkt.s3.eu-west-1.amazonaws.com/№'",
    "url: 's3://bkt.fra1.digitaloceanspaces.com/№'",
    "url: 's3://bkt.s3.us-west-002.backblazeb2.com/№'",
    "url: 's3://bkt.s3.filebase.com/№'",
    "url: 's3://bkt.s3.fr-par.scw.cloud/№'",
    "type: s3, bucket: bkt, path: '№', endpoint: 'https://x.supabase.co/storage/v1/s3'",
    "type: s3, bucket: bkt, path: '№', endpoint: 'minio:9000', force-path-style: yes, skip-verify: on",
    "type: s3, bucket: bkt, path: '№', region: eu, access-key-id: a, secret-access-key: b",
    "type: abs, bucket: cnt, path: '№', account-name: me",
    "url: 'abs://me@cnt/№'",
    "type: sftp, host: 'h:22', user: me, path: '/№'",
    "url: 'sftp://me:pw@h:22/№'",
    "path: /b/№, sync-interval: 1m30s",
    "path: /b/№, validation-interval: 5000000000",
    "type: s3, url: 's3://bkt/№', region: 012",
];

const ONLY_V03: &[&str] = &[
    "url: 'gcs://bkt/№'",
    "type: gcs, bucket: bkt, path: '№'",
    "path: /b/№, retention: 72h, retention-check-interval: 1h",
    "path: /b/№, snapshot-interval: 4h",
    "url: 's3://bkt.nyc.linodeobjects.com/№'",
    "path: /b/№, sync-interval: 10s, name: near",
];

const ONLY_V05: &[&str] = &[
    "url: 'gs://bkt/№'",
    "type: gs, bucket: bkt, path: '№'",
    "url: 'webdav://me:pw@h/№'",
    "url: 'webdavs://h/№'",
    "type: webdav, webdav-url: 'https://h/dav', path: '№'",
    "url: 'nats://h:4222/№'",
    "url: 'nats://h:4222'",
    "type: nats, url: 'nats://h:4222/№'",
    "url: 'oss://bkt/№'",
    "type: oss, bucket: bkt, path: '№'",
    "url: 's3://bkt/№?endpoint=localhost:9000&region=eu'",
    "url: 's3://bkt/№?endpoint=https://x.supabase.co/storage/v1/s3'",
    "url: 's3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/№'",
    "path: /b/№, retention: 30d",
    "path: /b/№, auto-recover: yes",
    "type: s3, bucket: bkt, path: '№', part-size: 10MiB, concurrency: 0x4",
    "url: 'S3://bkt/№'",
    "path: /b/№, snapshot-interval: [x]",
];

/// What the one or the other refuses, or both.
const BROKEN: &[&str] = &[
    "",
    "type: s3",
    "type: s3, bucket: ''",
    "type: ftp, path: x",
    "url: nothing",
    "url: 's3://'",
    "url: 's3://bkt:x/№'",
    "url: 's3://bkt/%zz'",
    "path: 's3://bkt/№'",
    "url: 's3://bkt/№', path: q",
    "url: 's3://bkt/№', bucket: c",
    "url: 'sftp://h/№'",
    "type: sftp, path: p",
    "type: abs",
    "path: /b/№, skip-verify: 'yes'",
    "path: /b/№, skip-verify: maybe",
    "path: /b/№, sync-interval: 7d",
    "path: /b/№, sync-interval: '10'",
    "path: [x]",
    "path: {x: y}",
    "type: s3, bucket: $UNSET",
    "url: ${UNSET:-s3://bkt/x}",
    "path: /b/№, validation-interval: soon",
    "url: 'ftp://h/№'",
    "path: ${UNSET}",
    "path: /b/№, secret-access-key: [x]",
];

const BROKEN_V03: &[&str] =
    &["path: /b/№, retention: 30d", "path: /b/№, age: {recipients: [nobody]}", "url: 'nats://h/№'"];

const BROKEN_V05: &[&str] = &[
    "url: 'gcs://bkt/№'",
    "type: gcs, bucket: bkt",
    "path: /b/№, sync-interval: 0s",
    "path: /b/№, part-size: big",
    "path: /b/№, max-sync-ltx-files: many",
    "path: /b/№, age: {recipients: [nobody]}",
    "url: 's3:bucket/№'",
    "url: 'file://me:pw@h/№'",
    "type: s3, bucket: bkt, endpoint: minio, path: '№'",
    "path: /b/№, tls: x",
    "path: /b/№, timeout: 5d",
];

const TOP_BOTH: &[&str] = &[
    "addr: ':9090'",
    "exec: 'app serve'",
    "x-own: {a: [1, 2]}",
    "access-key-id: id\nsecret-access-key: $SECRET",
    "# ${NOTHING} and $NOTHING",
    "logging: {level: debug, type: json, stderr: yes}",
    "addr: 5",
];

const TOP_V05: &[&str] = &[
    "snapshot: {interval: 6h, retention: 168h}",
    "levels: [{interval: 1m}, {interval: 10m}]",
    "levels: []",
    "l0-retention: 0s",
    "retention: {enabled: no}",
    "region: eu\nendpoint: 'https://s3.example.org'",
    "sync-interval: 10s",
    "verify-compaction: on",
    "socket: {enabled: true, permissions: 0600}",
    "validation: {interval: 1h}",
    "heartbeat-url: 'https://hc/x'\nheartbeat-interval: 1m",
    "shutdown-sync-timeout: 0s",
    "snapshot:",
];

const TOP_BROKEN: &[&str] =
    &["addr: [x]", "logging: 5", "exec: {a: b}", "dbs: x", "a: [", "logging: {stderr: maybe}", "\tx: y"];

const TOP_BROKEN_V05: &[&str] = &[
    "heartbeat-url: ftp://x",
    "heartbeat-url: HTTPS://x",
    "heartbeat-interval: 10s",
    "levels: [{interval: 0s}]",
    "levels: 5",
    "snapshot: {interval: 0s}",
    "snapshot: {retention: -1s}",
    "snapshot: 5",
    "l0-retention: -1s",
    "l0-retention-check-interval: 0s",
    "shutdown-sync-interval: 0s",
    "shutdown-sync-timeout: -1s",
    "retention: 30d",
    "verify-compaction: 1",
    "sync-interval: 7d",
    "socket: {permissions: '0600'}",
    "part-size: x",
    "age: {identities: [x]}",
    "timeout: 5d",
    "concurrency: x",
];

/// A configuration. What is in it that its release refuses is at most one thing, so that each is seen.
pub(super) fn configuration(seed: u64, dialect: Dialect, directory: &Path) -> String {
    let mut choices = Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let choices = &mut choices;
    for _ in 0..8 {
        choices.number(2);
    }
    let (own, own_broken): (&[&str], &[&str]) = match dialect {
        Dialect::V03 => (ONLY_V03, BROKEN_V03),
        Dialect::V05 => (ONLY_V05, BROKEN_V05),
    };
    let mut broken = choices.once_in(3);
    let mut top = Vec::new();
    for _ in 0..choices.number(3) {
        let known = if dialect == Dialect::V05 && choices.once_in(2) { TOP_V05 } else { TOP_BOTH };
        top.push(choices.of(known));
    }
    if broken && choices.once_in(3) {
        let known = if dialect == Dialect::V05 && !choices.once_in(4) { TOP_BROKEN_V05 } else { TOP_BROKEN };
        top.push(choices.of(known));
        broken = false;
    }
    let mut place = |choices: &mut Choices, number: usize| {
        let known = match (broken, choices.once_in(2)) {
            (true, true) => own_broken,
            (true, false) => BROKEN,
            (false, true) if choices.once_in(2) => own,
            _ => BOTH,
        };
        broken = false;
        choices.of(known).replace('№', &number.to_string())
    };
    let mut databases = Vec::new();
    for number in 0..=choices.number(3) {
        databases.push(database(choices, dialect, number, &mut place));
    }
    if dialect == Dialect::V05 && choices.once_in(6) {
        let watch = choices.of(&["", "    recursive: yes\n", "    watch: true\n"]);
        databases.push(format!(
            "  - dir: {}/found\n    pattern: '*.db'\n{watch}    replica: {{url: 's3://bkt/d'}}\n",
            directory.display()
        ));
    }
    top.sort_unstable();
    top.dedup();
    let mut text = "merged: &merged\n  type: s3\n  bucket: merged\n".to_owned();
    let above = choices.once_in(2);
    let top = top.join("\n") + "\n";
    text.push_str(if above { &top } else { "" });
    text.push_str("dbs:\n");
    text.push_str(&databases.concat());
    text.push_str(if above { "" } else { &top });
    text
}

fn database(
    choices: &mut Choices,
    dialect: Dialect,
    number: usize,
    place: &mut impl FnMut(&mut Choices, usize) -> String,
) -> String {
    let mut path = choices.of(PATHS).replace('№', &number.to_string());
    if choices.once_in(12) {
        path = format!("sqlite3:///srv/{number}.db");
    }
    if choices.once_in(25) {
        let odd: &[&str] = if dialect == Dialect::V05 { &["", "~", "''", "[x]", "/srv/0.db"] } else { &["''", "[x]"] };
        path = choices.of(odd).to_owned();
    }
    let extra = choices.of(&[
        "",
        "",
        "",
        "    monitor-interval: 2s\n",
        "    meta-path: /meta/x\n",
        "    colour: [blue]\n",
        "    checkpoint-interval: 5\n",
        "    min-checkpoint-page-count: 0x10\n",
    ]);
    let mut replica = place(choices, 10 * number);
    if choices.once_in(6) && !replica.contains("url") && !replica.is_empty() {
        replica = match choices.number(3) {
            0 => format!("<<: *merged, {replica}"),
            1 => format!("{replica}, <<: *merged"),
            _ => format!("{replica}, <<: [*merged, {{path: last, type: file}}]"),
        };
    }
    if dialect == Dialect::V05 && choices.once_in(2) {
        return format!("  - path: {path}\n{extra}    replica: {{{replica}}}\n");
    }
    let mut replicas = format!("{{{replica}}}");
    // One more, which 0.5.17 refuses.
    if choices.once_in(if dialect == Dialect::V03 { 4 } else { 30 }) {
        replicas.push_str(&format!(", {{{}}}", place(choices, 10 * number + 1)));
    }
    format!("  - path: {path}\n{extra}    replicas: [{replicas}]\n")
}
