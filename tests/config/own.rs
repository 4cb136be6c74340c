//! `streamgauge.toml`, the environment and the flags.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use streamgauge::domain::drill::{DrillPolicy, DrillSchedule};
use streamgauge::domain::price::{ConfiguredPrices, usual_prices};
use streamgauge::domain::spot::SpotPolicy;
use streamgauge::domain::target::StoreKind;
use streamgauge::domain::verification::VerifyDepth;
use streamgauge::infrastructure::config::{Input, LogFormat, Problem};
use streamgauge::usecase::ports::Pace;
use tracing::level_filters::LevelFilter;

use super::{Files, load};

const EXAMPLE: &str = include_str!("../../streamgauge.toml");

fn own(text: &str) -> Files {
    let files = Files::new();
    files.write("streamgauge.toml", text);
    files
}

#[test]
fn defaults() {
    let settings = own("[[database]]\npath = '/a.db'\n").load().settings;
    assert_eq!(settings.web.listen_address, ["127.0.0.1:10099".parse().expect("an address")]);
    assert_eq!((settings.log.level, settings.log.format), (LevelFilter::INFO, LogFormat::Logfmt));
    assert_eq!(settings.pace.poll, Duration::from_secs(1));
    assert_eq!(settings.pace.grace, Duration::from_secs(120));
    assert_eq!(settings.pace.concurrency, 32);
    assert_eq!(settings.objectives.rpo, Duration::from_secs(300));
    assert!(settings.litestream.expand_env);
    assert_eq!((settings.pace.directory, settings.pace.bucket), (Duration::from_secs(2), Duration::from_secs(10)));
}

#[test]
fn sizes_and_releases_are_read() {
    let text = "[verify]\ncontent = '512 kB'\ndirectory-content = '2GiB'\n[objectives]\nrestorer = 'v0.5.15'\n\
                [[database]]\npath = '/a.db'\n[[database]]\npath = '/b.db'\nrestorer = '0.5.16'\n";
    let loaded = own(text).load();
    let verify = loaded.settings.pace.verify;
    assert_eq!((verify.depth, verify.bucket, verify.directory), (VerifyDepth::Content, 512_000, 2 << 30));
    let reads = |at: usize| loaded.targets[at].objectives.restorer.expect("a release").reads_blocks();
    assert_eq!((reads(0), reads(1)), (false, true));
    let off = own("[verify]\nenabled = false\n[[database]]\npath = '/a.db'\n").load();
    assert_eq!(off.settings.pace.verify.depth, VerifyDepth::None);
    assert_eq!(off.targets[0].objectives.restorer, None);
}

#[test]
fn spot_checks_are_on_have_bounds_and_can_be_turned_off() {
    let spot = |keys: &str| {
        let loaded = own(&format!("[verify]\n{keys}\n[[database]]\npath = '/a.db'\n")).load();
        let SpotPolicy { interval, pages } = loaded.settings.pace.verify.spot;
        (interval.map(|interval| interval.as_secs()), pages)
    };
    assert_eq!(spot(""), (Some(3600), 16));
    assert_eq!(spot("spot-interval = '6h'\nspot-pages = 256"), (Some(6 * 3600), 256));
    assert_eq!(spot("spot-interval = '1s'"), (Some(10), 16), "as often as that may be");
    assert_eq!(spot("spot-checks = false").0, None);
}

#[test]
fn permissions_are_read_for_all_and_for_one() {
    let text = "[objectives]\nfile-mode = '0660'\nowner = 'root'\n[[database]]\npath = '/a.db'\n\
                [[database]]\npath = '/b.db'\nfile-mode = ['640', '0600']\nowner = '977'\n";
    let loaded = own(text).load();
    let of = |at: usize| {
        let permissions = &loaded.targets[at].objectives.permissions;
        let owner = permissions.owner.as_ref().expect("an owner");
        (permissions.modes.clone(), owner.name.clone(), owner.uid)
    };
    assert_eq!(of(0), (vec![0o660], "root".to_owned(), 0));
    assert_eq!(of(1), (vec![0o640, 0o600], "uid 977".to_owned(), 977));
    let default = own("[[database]]\npath = '/a.db'\n").load();
    assert_eq!(default.targets[0].objectives.permissions.modes, [0o600, 0o640]);

    let text = "[objectives]\nfile-mode = ['0999', '0600']\nowner = 'nobody at all'\n[[database]]\npath = '/a.db'\n";
    let problems = load(&own(text).input()).expect_err("broken").problems;
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "streamgauge.toml:2: objectives.file-mode[0]: value `0999`: not permission bits; accepted: permission bits in \
             octal such as \"0600\", one or several",
            "streamgauge.toml:3: objectives.owner: value `nobody at all`: no such user in /etc/passwd; accepted: the name \
             of a user, or a number",
        ]
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut files =
        own("[log]\nlevel = 'warn'\nformat = 'json'\n[watch]\npoll-interval = '2s'\n[[database]]\npath = '/a.db'\n");
    files
        .set("STREAMGAUGE__LOG__LEVEL", "debug")
        .set("STREAMGAUGE__WATCH__POLL_INTERVAL", "3s")
        .set("STREAMGAUGE__WEB__LISTEN_ADDRESS", ":1, [::1]:2")
        .set("STREAMGAUGE__REPLICA__CONCURRENCY", "8")
        .set("STREAMGAUGE_CONFIG_FILE", "not a key of ours");
    let mut input = files.input();
    input.overrides = vec![("log.level", vec!["trace".to_owned()])];
    let settings = load(&input).expect("valid").settings;
    assert_eq!((settings.log.level, settings.log.format), (LevelFilter::TRACE, LogFormat::Json));
    assert_eq!(settings.pace.poll, Duration::from_secs(3));
    assert_eq!(settings.pace.concurrency, 8);
    let addresses: Vec<String> = settings.web.listen_address.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["[::]:1", "[::1]:2"]);

    input.overrides.push(("web.listen-address", vec!["127.0.0.1:3".to_owned(), "localhost:4".to_owned()]));
    let settings = load(&input).expect("valid").settings;
    let addresses: Vec<String> = settings.web.listen_address.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:3", "127.0.0.1:4"]);
}

#[test]
fn mistakes_in_the_environment_and_flags_are_named_by_their_own_names() {
    let mut files = own("[[database]]\npath = '/a.db'\n");
    files
        .set("STREAMGAUGE__LOG__LEVEL", "loud")
        .set("STREAMGAUGE__LOG__COLOUR", "always")
        .set("STREAMGAUGE__REPLICA__TIMEOUT_2", "1s")
        .set("STREAMGAUGE__WEB", "x")
        .set("STREAMGAUGE__X[9999999]", "1")
        .set("STREAMGAUGE__DATABASE", "/b.db");
    let mut input = files.input();
    input.overrides = vec![("storage.path", vec!["~/x".to_owned()]), ("web.listen-address", vec!["here".to_owned()])];
    input.overrides.push(("watch.shard", vec!["7".to_owned()]));
    input.overrides.push(("web.config-file", vec!["~/y".to_owned()]));
    input.home = None;
    let shown: Vec<String> = load(&input).expect_err("broken").problems.iter().map(ToString::to_string).collect();
    for expected in [
        "environment: STREAMGAUGE__X[9999999]: not a key; accepted: STREAMGAUGE__SECTION__KEY",
        "command line: --web.listen-address: value `here`: not an address with a port; accepted: address:port such as \
         127.0.0.1:10099, [::1]:10099 or, for every address, :10099; or unix:/path",
        "command line: --shard: value `7`: ",
        "command line: --web.config.file: value `~/y`: no home directory is known; accepted: a path",
        "command line: --storage.path: value `~/x`: no home directory is known; accepted: a path",
        "environment: STREAMGAUGE__LOG__COLOUR: unknown key; accepted: format, level",
        "environment: STREAMGAUGE__LOG__LEVEL: value `loud`: not one of the choices; accepted: error, warn, info, debug, trace",
        "environment: STREAMGAUGE__REPLICA__TIMEOUT_2: unknown key, did you mean `timeout`?; accepted: ca-file, concurrency, \
         idle-interval, idle-reconcile-interval, interval, level-interval, listing-interval, reconcile-interval, request-budget, timeout",
        "environment: STREAMGAUGE__DATABASE: not a list; accepted: [[database]] tables",
    ] {
        assert!(shown.iter().any(|shown| shown.starts_with(expected)), "{expected}\nis not in\n{}", shown.join("\n"));
    }
    assert_eq!(shown.len(), 9, "{}", shown.join("\n"));
}

#[test]
fn a_database_can_be_named_overridden_and_added() {
    let files = own("
[objectives]
rpo = '2m'
retention = '30d'
[[database]]
name = 'shop'
path = '/srv/shop.db'
rpo = '30s'
snapshot-interval = '2h'
[[database.replica]]
url = 'file:///mnt/shop'
[[database]]
path = '/srv/plain.db'
[[database]]
path = '/srv/other.db'
meta-path = '/meta'
[[database.replica]]
url = 's3://bkt/other'
profile = 'reader'
sync-interval = '5s'
[[database]]
[[database.replica]]
url = 's3://bkt/remote/far.db'
name = 'offsite'
region = 'eu-west-1'
access-key-id = 'AKIA'
secret-access-key = 'geheim'
session-token = 'geheim'
");
    files.write(
        "litestream.yml",
        "dbs: [{path: /srv/shop.db, replica: {url: 's3://bkt/shop'}}, {path: /srv/x.db, replica: {url: 's3://bkt/x'}}]",
    );
    assert_eq!(
        files.targets(),
        [
            "far remote -> offsite=s3[bkt][remote/far.db] eu-west-1 key:AKIA 1s {120s 720h -}",
            "other /srv/other.db [/meta] -> s3=s3[bkt][other] reader 5s {120s 720h -}",
            "plain /srv/plain.db [-] ->  {120s 720h -}",
            "shop /srv/shop.db [/srv/.shop.db-litestream] -> s3=s3[bkt][shop] 1s, file=/mnt/shop 1s {30s 720h 2h}",
            "x /srv/x.db [/srv/.x.db-litestream] -> s3=s3[bkt][x] 1s {120s 720h 24h}",
        ]
    );
    let sources: Vec<_> = files.load().sources.iter().map(|s| (files.short(&s.source), s.databases)).collect();
    assert_eq!(sources, [("DIR/litestream.yml".to_owned(), 2), ("streamgauge.toml".to_owned(), 4)]);
}

#[test]
fn the_prefix_map_moves_what_litestream_names() {
    let files = own("
[litestream]
path-map = [{ from = '/data', to = 'ROOT/data' }, { from = '/data/hot', to = '/fast' }, { from = '/backup', to = '/mnt' }]
[[database]]
name = 'by-litestreams-path'
path = '/data/a.db'
[[database]]
name = 'by-our-path'
path = 'ROOT/data/sub/b.db'
");
    let text = fs::read_to_string(files.path().join("streamgauge.toml")).expect("a file");
    files.write("streamgauge.toml", text.replace("ROOT", &files.path().display().to_string()));
    files.database("data/sub/b.db").write(
        "litestream.yml",
        "dbs:
  - {path: /data/a.db, replica: {path: /backup/a}}
  - {dir: /data/sub, pattern: '*.db', meta-path: /data/meta, replica: {url: 'file:///backup'}}
  - {path: /data/hot/c.db, replica: {url: 's3://backup/c'}}
  - {path: /database/d.db, replica: {path: /backups/d}}
",
    );
    assert_eq!(
        files.targets(),
        [
            "by-litestreams-path DIR/data/a.db [DIR/data/.a.db-litestream] -> file=/mnt/a 1s {300s 24h 24h}",
            "by-our-path DIR/data/sub/b.db [DIR/data/meta/.b.db-litestream] -> file=/mnt/b.db 1s {300s 24h 24h}",
            "c /fast/c.db [/fast/.c.db-litestream] -> s3=s3[backup][c] 1s {300s 24h 24h}",
            "d /database/d.db [/database/.d.db-litestream] -> file=/backups/d 1s {300s 24h 24h}",
        ]
    );
}

#[test]
fn litestreams_own_variable_names_its_file() {
    let mut files = Files::new();
    files.write("elsewhere.yml", "dbs: [{path: /a.db, replica: {path: /b}}]").write("streamgauge.toml", "");
    files.set("LITESTREAM_CONFIG", "elsewhere.yml");
    assert_eq!(files.load().settings.litestream.config, [files.path().join("elsewhere.yml")]);
    assert_eq!(files.targets().len(), 1);
}

#[test]
fn a_file_that_is_named_has_to_exist() {
    let input = Input { config_file: Some("/nowhere/streamgauge.toml".into()), ..Input::default() };
    let shown: Vec<String> = load(&input).expect_err("missing").problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["/nowhere/streamgauge.toml: no such file or directory"]);
}

#[test]
fn secrets_are_never_printed() {
    let files = own("
[[database]]
path = '/a.db'
[[database.replica]]
url = 's3://bkt/a'
access-key-id = 'AKIA'
secret-access-key = 'geheim1'
session-token = 'geheim2'
sse-customer-key = 'geheim3'
[[database.replica]]
url = 'sftp://me:geheim4@host/x?password=geheim5'
");
    files.write(
        "litestream.yml",
        "dbs: [{path: /b.db, secret-acess-key: geheim6, replica: {url: 's3://me:geheim7@bkt/b', access-key-id: I, secret-access-key: geheim8}}]",
    );
    let loaded = files.load();
    let mut shown = format!("{loaded:?}");
    for target in &loaded.targets {
        for replica in &target.replicas {
            shown.push_str(&replica.location.url());
        }
    }
    shown.push_str(&serde_json::to_string(&loaded.sources).expect("json"));
    loaded.warnings.iter().for_each(|warning| shown.push_str(&warning.to_string()));
    assert!(!shown.contains("geheim"), "{shown}");

    let broken = own("
secret-access-key = 'geheim'
[[database]]
name = 'http://me:geheim@host\\u0000'
[[database.replica]]
url = 'http://me:geheim@host/geheim@x'
secret-access-key = ['geheim']
[[database.replica]]
url = 's3://me:geheim@host:port/x?secret=geheim'
secret-acess-key = 'geheim'
");
    let problems: Vec<Problem> = load(&broken.input()).expect_err("broken").problems;
    assert!(problems.len() >= 4, "{problems:?}");
    assert!(!format!("{problems:?} {}", problems[0]).contains("geheim"), "{problems:#?}");
}

/// What `age-keygen` writes.
fn age_identity() -> String {
    use age::secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    format!("# public key: {}\n{}\n", identity.to_public(), identity.to_string().expose_secret())
}

#[test]
fn age_identities_are_read_and_never_shown() {
    let files = own("[[database]]\n[[database.replica]]\nurl = 'file:///r'\nage-identity-file = 'key'\n");
    let key = age_identity();
    files.write("key", &key);
    let replica = &files.load().targets[0].replicas[0];
    assert!(replica.encrypted && replica.age_identities[0].expose() == key);
    assert!(!format!("{replica:?}").contains("AGE-SECRET-KEY"));
    let said = |content: &str| {
        files.write("key", content);
        load(&files.input()).expect_err("not an identity").problems.remove(0).to_string()
    };
    let expected = |cause: &str| {
        format!(
            "streamgauge.toml:4: database[0].replica[0].age-identity-file: value `key`: {cause}; accepted: a readable file of \
                 age identities (AGE-SECRET-KEY-1…)"
        )
    };
    assert_eq!(said("# nothing\n"), expected("no identity in it"));
    assert_eq!(said("AGE-SECRET-KEY-1GEHEIM"), expected("read age identity: line 1 is not one"));
    assert_eq!(said(&"#\n".repeat(100_000)), expected("more than 65536 bytes"));
    std::fs::remove_file(files.path().join("key")).expect("a file");
    let missing = load(&files.input()).expect_err("no file").problems.remove(0).to_string();
    assert_eq!(missing, expected("no such file or directory"));
}

#[test]
fn the_commented_example_is_valid() {
    let files = own(EXAMPLE);
    files.write("litestream.yml", "dbs: [{path: /a.db, replica: {path: /b}}]");
    let as_shipped = files.load().settings;
    files.write("streamgauge.toml", "");
    assert_eq!(as_shipped, files.load().settings, "an example that is all comments changes something");
}

#[test]
fn the_commented_example_is_valid_with_every_option_on() {
    let files = Files::new();
    let certificate = files.path().join("ca.pem").display().to_string();
    let identity = files.path().join("age.key").display().to_string();
    let secrets = files.path().join("secret").display().to_string();
    let text = uncommented()
        .replace("/run/secrets/slack-url", &files.path().join("slack").display().to_string())
        .replace("/run/secrets/mail-password", &secrets)
        .replace("/run/secrets/alertmanager-password", &secrets)
        .replace("/run/secrets/pagerduty-key", &secrets)
        .replace("/run/secrets/ntfy-token", &secrets)
        .replace("/etc/ssl/certs/ca-certificates.crt", &certificate)
        .replace("/etc/streamgauge/shop.age-key", &identity);
    files
        .write("age.key", age_identity())
        .write("secret", "geheim\n")
        .write("slack", "https://hooks.slack.com/services/geheim\n")
        .write("ca.pem", "")
        .write("litestream.yml", "dbs: [{path: /a.db, replica: {path: /b}}]");
    // A replica takes either keys or a profile; the example shows each in its own.
    files.write("streamgauge.toml", text);
    let loaded = files.load();
    assert_eq!(loaded.targets.len(), 2);
    let shop = &loaded.targets[1];
    assert_eq!((shop.name.as_str(), shop.replicas.len()), ("shop", 7));
    assert!(shop.replicas[0].encrypted && shop.replicas[0].age_identities.len() == 1);
    let defaults = own("[[database]]\npath = '/a.db'\n").load().settings;
    assert_eq!(loaded.settings.web.listen_address, defaults.web.listen_address);
    assert_eq!(loaded.settings.web.allowed_hosts, ["db1.example.org"]);
    assert_eq!(loaded.settings.log, defaults.log);
    // Some intervals depend on the place, and are shown for a bucket.
    let Pace { directory, levels, .. } = defaults.pace;
    let shown = Pace { directory, levels, ..loaded.settings.pace.clone() };
    assert_eq!(shown, defaults.pace, "the example does not show the defaults");
    assert_eq!(loaded.settings.requests.timeout, defaults.requests.timeout);
    assert_eq!(loaded.settings.objectives.rpo, defaults.objectives.rpo);
    let drill = &loaded.settings.drill;
    assert_eq!(drill.limits.daily_download, defaults.drill.limits.daily_download);
    // What it costs depends on the place, and is shown for Amazon's.
    let s3 = usual_prices(StoreKind::S3, "").unwrap();
    let shown = ConfiguredPrices {
        reads_per_thousand: Some(s3.reads_per_thousand),
        lists_per_thousand: Some(s3.lists_per_thousand),
        received_per_gigabyte: Some(s3.received_per_gigabyte),
        stored_per_gigabyte: Some(s3.stored_per_gigabyte),
        uploads_per_thousand: Some(s3.others_per_thousand),
        deletes_per_thousand: Some(s3.deletes_per_thousand),
        minimum_days: Some(s3.terms.minimum_days),
        minimum_bytes: Some(s3.terms.minimum_bytes),
    };
    assert_eq!(drill.policy.prices, shown);
    let prices = ConfiguredPrices::default();
    let shown = DrillPolicy { schedule: DrillSchedule::BySize, rto: None, prices, ..drill.policy.clone() };
    assert_eq!(shown, DrillPolicy::default(), "the example does not show the defaults");
    assert_eq!(shop.drill.schedule, DrillSchedule::Cron("0 3 * * SUN Europe/Berlin".into()));
    assert_eq!(shop.drill.probes.len(), 3);
    let receivers: Vec<_> =
        loaded.settings.alerting.receivers.iter().map(|r| (r.name.as_str(), r.kind.as_str())).collect();
    let kinds = ["alertmanager", "webhook", "slack", "smtp", "pagerduty", "ntfy"];
    assert_eq!(receivers, kinds.map(|kind| (if kind == "webhook" { "gateway" } else { kind }, kind)));
    let first = &loaded.settings.alerting.receivers[0];
    let shown = (first.severity.as_str(), first.resolved, first.repeat_interval);
    assert_eq!(shown, ("warning", true, Duration::from_secs(60)), "the example does not show the defaults");
    let gateway = &loaded.settings.alerting.receivers[1];
    assert_eq!((gateway.group_wait, gateway.group_interval), (first.group_wait, first.group_interval));
    let deadman = loaded.settings.alerting.deadman.expect("a switch");
    assert_eq!((deadman.interval, deadman.severity.as_str()), (Duration::from_secs(60), "critical"));
}

/// Options are commented with `#` alone, prose with `# `.
pub(super) fn uncommented() -> String {
    EXAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_commented_example_mentions_every_option() {
    // Each section says what it accepts when it meets a key that it does not know.
    let files = own("
zzz = 1
web.zzz = 1
storage.zzz = 1
log.zzz = 1
litestream.zzz = 1
watch.zzz = 1
replica.zzz = 1
verify.zzz = 1
objectives.zzz = 1
drill.zzz = 1
drill.price.zzz = 1
[[litestream.path-map]]
zzz = 1
[[observe]]
url = 's3://bkt'
zzz = 1
[observe.drill]
zzz = 1
[[database]]
zzz = 1
[database.drill]
zzz = 1
[[database.probe]]
name = 'x'
query = 'SELECT 1'
min = 1
zzz = 1
[[database.replica]]
url = 's3://bkt'
zzz = 1
[[receiver]]
kind = 'alertmanager'
zzz = 1
[[receiver]]
kind = 'webhook'
zzz = 1
[[receiver]]
kind = 'pagerduty'
zzz = 1
[[receiver]]
kind = 'smtp'
zzz = 1
[deadman]
zzz = 1
");
    let text = uncommented();
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        }
        let known = sections.entry(section.clone()).or_default();
        known.push_str(line);
        known.push('\n');
    }
    let mut options = 0;
    for problem in load(&files.input()).expect_err("unknown keys").problems {
        let Some(key) = problem.key.strip_suffix("zzz") else { continue };
        let mut section = key.trim_end_matches('.').to_owned();
        for index in 0..4 {
            section = section.replace(&format!("[{index}]"), "");
        }
        for option in problem.accepted.expect("a list").split(", ") {
            let there = match section.as_str() {
                "" => sections.contains_key(option),
                // As for one database, but for what only such a place has.
                "observe" | "observe.drill" => {
                    text.contains(&format!("{option} = ")) || ["drill", "price"].contains(&option)
                }
                "litestream.path-map" => text.contains(&format!("{option} = ")),
                // Interval and schedule exclude each other, so that one is shown for all and the other for one.
                "drill" | "database.drill" => {
                    let shown = |section: &str| sections[section].contains(&format!("{option} = "));
                    option == "price" || shown("drill") || shown("database.drill")
                }
                // A secret stands here or in a file, and how HTTP is spoken is shown for one receiver.
                "receiver" | "deadman" => {
                    let secret = option.trim_end_matches("-file");
                    ["receiver", section.as_str()].iter().any(|section| {
                        let mut shown = sections[*section].lines();
                        shown.any(|line| {
                            line.starts_with(&format!("{secret} = ")) || line.starts_with(&format!("{secret}-file = "))
                        })
                    })
                }
                _ => {
                    let below = sections.contains_key(&format!("{section}.{option}"));
                    below || sections[&section].lines().any(|line| line.starts_with(&format!("{option} = ")))
                }
            };
            assert!(there, "streamgauge.toml does not mention `{option}` of [{section}]");
            options += 1;
        }
    }
    assert!(options > 70, "only {options} options were found: does this test still see them?");
}

#[test]
fn beacons_are_written_only_when_asked_for() {
    assert_eq!(own("[[database]]\npath = '/a.db'\n").load().settings.pace.beacon, None);
    let quiet = own("[beacon]\ninterval = '5m'\n[[database]]\npath = '/a.db'\n");
    assert_eq!(quiet.load().settings.pace.beacon, None);
    let beacon = |text: &str| {
        own(&format!("[beacon]\nenabled = true\n{text}[[database]]\npath = '/a.db'\n")).load().settings.pace.beacon
    };
    let beacon = |text: &str| beacon(text).expect("enabled");
    assert_eq!(beacon("").interval, Duration::from_secs(60));
    assert!(!beacon("").host.is_empty());
    let given = beacon("interval = '1ms'\nhost = 'db1'\n");
    assert_eq!((given.interval, given.host.as_str()), (Duration::from_secs(2), "db1"));
}
