//! Configurations with a mistake in them. The file is named after the mistake; here is what a person reads about it.

use std::fs;

use super::{FIXTURES, input, messages};

#[rustfmt::skip]
const BROKEN: &[(&str, &[&str])] = &[
    ("bad-pattern.yml", &[
        ":3: dbs[0].pattern: value `[`: a `[` without its `]`; accepted: a pattern such as *.db",
    ]),
    ("bad-percent-escape.yml", &[
        ":4: dbs[0].replica.url: value `s3://bkt/100%`: a bad percent escape",
    ]),
    ("billion-laughs.yml", &[
        ":6: too many values, aliases written out",
    ]),
    ("binary.toml", &[
        ": not UTF-8 text",
    ]),
    ("binary.yml", &[
        ": not UTF-8 text",
    ]),
    ("boolean-in-quotes.toml", &[
        ":2: litestream.expand-env: value `no`: in quotes, which makes it text; accepted: true or false",
    ]),
    ("boolean-in-quotes.yml", &[
        ":5: dbs[0].replica.skip-verify: value `yes`: in quotes, which makes it text; accepted: true or false",
    ]),
    ("bucket-missing.yml", &[
        ":3: dbs[0].replica.bucket: missing; a replica of kind s3 needs it; accepted: a bucket's name",
    ]),
    ("ca-file-missing.toml", &[
        ":2: replica.ca-file: value `no-such-file.pem`: no such file or directory; accepted: a readable file",
    ]),
    ("concurrency-is-text.toml", &[
        ":2: replica.concurrency: value `32`: in quotes, which makes it text; accepted: a number from 1 to 32",
    ]),
    ("concurrency-too-high.toml", &[
        ":2: replica.concurrency: value `1000`: not such a number; accepted: a number from 1 to 32",
    ]),
    ("database-is-a-table.toml", &[
        ":1: database: not a list; accepted: [[database]] tables",
    ]),
    ("database-is-empty.toml", &[
        ":1: database[0]: neither `path` nor `replica`; accepted: at least one of the two",
    ]),
    ("database-name-empty.toml", &[
        ":2: database[0].name: value ``: not a name; accepted: a short name without control characters",
    ]),
    ("database-name-twice.toml", &[
        ":5: database[1].name: value `shop`: given twice; accepted: each name once",
    ]),
    ("database-path-twice.toml", &[
        ":4: database[1].path: value `/a.db`: given twice; accepted: each path once",
    ]),
    ("database-unknown-key.toml", &[
        ":6: database[1].retension: unknown key, did you mean `retention`?; accepted: disk-used-percent, drill, file-mode, meta-path, metrics, name, owner, path, probe, replica, restorer, retention, rpo, rto, snapshot-interval",
    ]),
    ("dbs-is-a-mapping.yml", &[
        ":1: dbs: not a list; accepted: a list, each item starting with `- ` below `dbs:`",
    ]),
    ("dbs-item-is-empty.yml", &[
        ":2: dbs[0]: not a section; accepted: keys with values",
    ]),
    ("dbs-item-is-text.yml", &[
        ":2: dbs[0]: not a section; accepted: keys with values",
    ]),
    ("dir-without-pattern.yml", &[
        ":2: dbs[0].pattern: missing beside `dir`; accepted: a pattern such as *.db",
    ]),
    ("duration-is-a-number.toml", &[
        ":2: watch.poll-interval: value `1`: a number without a unit; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
    ]),
    ("duration-negative.toml", &[
        ":2: objectives.rpo: value `-5m`: negative duration; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
    ]),
    ("duration-unknown-unit.toml", &[
        ":2: replica.idle-interval: value `5 minutes`: unknown unit; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
    ]),
    ("duration-out-of-bounds.toml", &[
        ":2: watch.poll-interval: value `1ns`: too short; accepted: a duration from 10ms to 100y",
        ":3: watch.sweep-interval: value `9ms`: too short; accepted: a duration from 10ms to 100y",
        ":5: replica.timeout: value `101y`: too long; accepted: a duration from 1ms to 100y",
        ":7: alerting.evaluation-interval: value `1us`: too short; accepted: a duration from 10ms to 100y",
        ":12: database[0].replica[0].sync-interval: value `1ns`: too short; accepted: a duration from 1ms to 100y",
    ]),
    ("duration-without-unit.toml", &[
        ":2: watch.sweep-interval: value `60`: a number without a unit; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
    ]),
    ("duration-zero.toml", &[
        ":2: litestream.discovery-interval: value `0s`: must be above zero; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
    ]),
    ("everything-at-once.toml", &[
        ":2: web.listen-address[0]: value `here`: not an address with a port; accepted: address:port such as 127.0.0.1:10099, [::1]:10099 or, for every address, :10099; or unix:/path",
        ":3: web.port: unknown key; accepted: allowed-hosts, config-file, listen-address, systemd-socket",
        ":6: log.level: value `loud`: not one of the choices; accepted: error, warn, info, debug, trace",
        ":9: replica.timeout: value `soon`: not a duration; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
        ":11: database[0]: neither `path` nor `replica`; accepted: at least one of the two",
        ":12: database[0].rpo: value `5`: a number without a unit; accepted: a duration such as 500ms, 30s, 5m, 1h30m or 7d",
    ]),
    ("endpoint-is-a-secret.yml", &[
        ":3: dbs[0].replica.endpoint: the endpoint is not the address of a server; accepted: https://host, host:port and the like, optionally with a path",
        ":5: dbs[1].replica.url: the endpoint is not the address of a server; accepted: https://host, host:port and the like, optionally with a path",
    ]),
    ("file-path-missing.yml", &[
        ":3: dbs[0].replica.path: missing; a replica of kind file needs it; accepted: a directory",
    ]),
    ("home-unknown.yml", &[
        ":2: dbs[0].path: value `~/a.db`: no home directory is known; accepted: a path",
    ]),
    ("key-twice.toml", &[
        ":3: not TOML: duplicate key",
    ]),
    ("list-for-a-string.yml", &[
        ":5: dbs[0].replica.bucket: a list where one value is expected; accepted: a string",
    ]),
    ("listen-address-is-a-number.toml", &[
        ":2: web.listen-address: not a list of strings; accepted: address:port such as 127.0.0.1:10099, [::1]:10099 or, for every address, :10099; or unix:/path",
    ]),
    ("listen-address-twice.toml", &[
        ":2: web.listen-address[1]: value `0.0.0.0:10099`: given twice; accepted: each address once",
    ]),
    ("listen-address-without-port.toml", &[
        ":2: web.listen-address[0]: value `127.0.0.1`: not an address with a port; accepted: address:port such as 127.0.0.1:10099, [::1]:10099 or, for every address, :10099; or unix:/path",
    ]),
    ("litestream-config-missing.toml", &[
        "no-such-litestream.yml: no such file or directory",
    ]),
    ("log-level.toml", &[
        ":2: log.level: value `verbose`: not one of the choices; accepted: error, warn, info, debug, trace",
        ":3: log.format: value `xml`: not one of the choices; accepted: logfmt, json",
    ]),
    ("meta-path-without-path.toml", &[
        ":2: database[0].meta-path: without `path`",
    ]),
    ("neither-path-nor-dir.yml", &[
        ":2: dbs[0]: neither `path` nor `dir`; accepted: one of the two",
    ]),
    ("nested-too-deeply.yml", &[
        ":1: nested too deeply",
    ]),
    ("not-a-mapping.yml", &[
        ":1: expected keys at the top",
    ]),
    ("not-yaml.yml", &[
        ":3: not YAML: while parsing a block collection, did not find expected '-' indicator",
    ]),
    ("nothing-to-watch.toml", &[
        ": nothing to watch: name a litestream.yml with --litestream.config, or a [[database]] or [[observe]] in streamgauge.toml",
    ]),
    ("path-and-dir.yml", &[
        ":2: dbs[0]: both `path` and `dir`; accepted: one of the two",
    ]),
    ("path-empty.yml", &[
        ":2: dbs[0].path: value ``: empty; accepted: a path",
    ]),
    ("password-in-a-file-url.yml", &[
        ":3: dbs[0].replica.url: a user in the URL of a directory; accepted: file:///directory",
    ]),
    ("path-expression-as-key.toml", &[
        ":1: a key that is not a plain word",
    ]),
    ("path-is-a-url.yml", &[
        ":5: dbs[0].replica.path: value `s3://bkt/a`: a URL, which belongs in `url`",
    ]),
    ("path-map-is-text.toml", &[
        ":2: litestream.path-map: not a list; accepted: [[litestream.path-map]] tables",
    ]),
    ("path-map-relative.toml", &[
        ":2: litestream.path-map[0].from: value `data`: not absolute; accepted: an absolute path",
        ":2: litestream.path-map[1].to: missing; accepted: an absolute path",
    ]),
    ("replica-and-replicas.yml", &[
        ":2: dbs[0]: both `replica` and `replicas`; accepted: `replica` in v0.5, `replicas` in v0.3",
    ]),
    ("replica-half-a-key.toml", &[
        ":3: database[0].replica[0]: one of `access-key-id` and `secret-access-key`; accepted: both or neither",
    ]),
    ("replica-is-text.yml", &[
        ":3: dbs[0].replica: not a section; accepted: keys with values",
    ]),
    ("replica-key-and-profile.toml", &[
        ":7: database[0].replica[0].profile: beside `access-key-id`; accepted: one of the two",
    ]),
    ("receivers.toml", &[
        ":1: receiver[0].kind: missing; accepted: alertmanager, webhook, slack, smtp, pagerduty, ntfy",
        ":4: receiver[1].kind: value `telegram`: not one of the choices; accepted: alertmanager, webhook, slack, smtp, pagerduty, ntfy",
        ":5: receiver[2].url: missing; accepted: `url` or `url-file`",
        ":7: receiver[3]: value `webhook`: a second receiver of this name; accepted: each `name` once",
        ":9: receiver[3].url: not the address of an HTTP server; accepted: http://host:port/path or https://…",
        ":12: receiver[4].name: value `deadman`: the name of the dead-man's switch; accepted: a short name without control characters",
        ":14: receiver[4].url-file: value `nowhere`: no such file or directory; accepted: a readable file that holds nothing else",
        ":15: receiver[5].password: missing beside `username`",
        ":17: receiver[5].url: holds a user name or a password; accepted: `username` and `password` beside it",
        ":19: receiver[6].routing-key: missing; accepted: `routing-key` or `routing-key-file`",
        ":21: receiver[6].severity: value `page`: not one of the choices; accepted: info, warning, critical",
        ":22: receiver[7].host: missing",
        ":24: receiver[7].from: value `nobody`: not a mail address; accepted: an address such as ops@example.org or Ops <ops@example.org>",
        ":25: receiver[7].to[1]: value `ops`: not a mail address; accepted: an address such as ops@example.org or Ops <ops@example.org>",
        ":26: receiver[7].security: value `ssl`: not one of the choices; accepted: starttls, tls, none",
        ":29: receiver[8].url[1]: not the address of an HTTP server; accepted: http://host:port/path or https://…",
        ":30: receiver[8].username: beside a bearer token; accepted: one of the two",
        ":33: receiver[8].routing-key: unknown key; accepted: bearer-token, bearer-token-file, ca-file, group-interval, group-wait, kind, name, password, password-file, repeat-interval, resolved, severity, skip-verify, url, username",
        ":34: deadman.url: missing; accepted: `url` or `url-file`",
    ]),
    ("replica-url-is-a-path.toml", &[
        ":4: database[0].replica[0].url: not a URL; accepted: s3://bucket/path and the like",
    ]),
    ("replica-url-unknown-kind.toml", &[
        ":4: database[0].replica[0].url: value `http://bucket.example.org/shop`: unknown kind of replica; accepted: file, s3, gs, abs, sftp, webdav, nats, oss; gcs in v0.3",
    ]),
    ("replica-without-url.toml", &[
        ":3: database[0].replica[0].url: missing; accepted: s3://bucket/path or file:///directory",
    ]),
    ("same-replica-twice.toml", &[
        ":5: database[1]: the same replica as another, without a `name` to tell them apart",
    ]),
    ("secret-is-a-number.toml", &[
        ":6: database[0].replica[0].secret-access-key: not in quotes; accepted: a string",
    ]),
    ("section-is-a-value.toml", &[
        ":1: web: not a section; accepted: keys with values",
    ]),
    ("sftp-user-missing.yml", &[
        ":3: dbs[0].replica.user: missing; a replica of kind sftp needs it; accepted: a user's name",
    ]),
    ("snake-case.toml", &[
        ":2: watch.poll_interval: unknown key, did you mean `poll-interval`?; accepted: poll-interval, series-grace, shard, sweep-interval",
    ]),
    ("snapshot-schedules-differ.yml", &[
        ":5: dbs[1].snapshot.interval: differs from another database's; Litestream has one schedule for all",
    ]),
    ("sync-interval-quoted.yml", &[
        ":5: dbs[0].replica.sync-interval: value `10`: a number without a unit; accepted: a duration with a unit of ns, us, ms, s, m or h, such as 1s or 24h",
    ]),
    ("sync-interval-zero.yml", &[
        ":5: dbs[0].replica.sync-interval: must be above zero; accepted: a duration with a unit of ns, us, ms, s, m or h, such as 1s or 24h",
    ]),
    ("syntax.toml", &[
        ":1: not TOML: unclosed table, expected `]`",
        ":5: not TOML: string values must be quoted, expected literal string",
    ]),
    ("unknown-key-nothing-like-it.toml", &[
        ":2: log.colour: unknown key; accepted: format, level",
    ]),
    ("unknown-key.toml", &[
        ":2: web.listen-adress: unknown key, did you mean `listen-address`?; accepted: allowed-hosts, config-file, listen-address, systemd-socket",
    ]),
    ("unknown-scheme.yml", &[
        ":4: dbs[0].replica.url: value `ftp://host/b`: unknown kind of replica; accepted: file, s3, gs, abs, sftp, webdav, nats, oss; gcs in v0.3",
    ]),
    ("unknown-section.toml", &[
        ":1: webb: unknown key, did you mean `web`?; accepted: alerting, beacon, database, deadman, drill, litestream, log, metrics, objectives, observe, receiver, replica, silence, storage, verify, watch, web",
    ]),
    ("unknown-type.yml", &[
        ":4: dbs[0].replica.type: value `ftp`: unknown kind of replica; accepted: file, s3, gs, abs, sftp, webdav, nats, oss; gcs in v0.3",
    ]),
    ("url-and-bucket.yml", &[
        ":5: dbs[0].replica.url: value `s3://bkt/a`: both `url` and `bucket` are set; accepted: one of the two",
    ]),
    ("url-and-path.yml", &[
        ":4: dbs[0].replica.url: value `s3://bkt/a`: both `url` and `path` are set; accepted: one of the two",
    ]),
    ("watch-without-dir.yml", &[
        ":3: dbs[0].watch: only works with `dir`",
    ]),
    ("verify-sizes.toml", &[
        ":2: verify.content: value `64 miles`: unknown unit; accepted: a size such as 10GiB, 512MB, 1.5GiB or a number of bytes",
        ":3: verify.directory-content: value `99999999999GiB`: too large; accepted: a size such as 10GiB, 512MB, 1.5GiB or a number of bytes",
        ":5: objectives.restorer: value `0.5`: not a release; accepted: a release of Litestream such as 0.5.15",
    ]),
];

#[test]
fn each_mistake_has_its_message() {
    for (file, expected) in BROKEN {
        let expected: Vec<String> = expected
            .iter()
            .map(|message| if message.starts_with(':') { format!("{file}{message}") } else { (*message).to_owned() })
            .collect();
        assert_eq!(messages(&input(file)), expected, "{file}");
    }
}

#[test]
fn each_file_is_in_the_table() {
    for entry in fs::read_dir(FIXTURES).expect("fixtures") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(BROKEN.iter().any(|(file, _)| *file == name), "{name} has no expected message in broken.rs");
    }
}
