//! Secrets in what everyone may read: whatever is in a value, in the environment or in a file that was never meant, the
//! messages do not hold it.

use super::{Files, load, place};

/// No letter of it is of any key, and it is long enough to be a secret.
const CANARY: &str = "Zq7XjW9ZqZ";

/// All that a load says, in whatever way.
fn said(files: &Files) -> String {
    match load(&files.input()) {
        Ok(loaded) => {
            let mut text = serde_json::to_string(&loaded.sources).expect("json");
            for problem in loaded.warnings.iter().chain(&loaded.notes) {
                text.push_str(&format!("\n{problem}"));
            }
            text
        }
        Err(refused) => {
            let all: Vec<String> = refused.problems.iter().chain(&refused.warnings).map(ToString::to_string).collect();
            all.join("\n")
        }
    }
}

fn clean(files: &Files, of: &str) -> String {
    let said = said(files);
    assert!(!said.contains(CANARY), "{of}:\n{said}");
    said
}

/// Every key of a replica, of a database and of the top that Litestream has.
const REPLICA: &[&str] = &[
    "type",
    "name",
    "path",
    "url",
    "sync-interval",
    "validation-interval",
    "retention",
    "snapshot-interval",
    "retention-check-interval",
    "access-key-id",
    "secret-access-key",
    "region",
    "bucket",
    "endpoint",
    "force-path-style",
    "skip-verify",
    "sign-payload",
    "require-content-md5",
    "storage-class",
    "part-size",
    "concurrency",
    "sse-customer-key",
    "sse-customer-key-path",
    "account-name",
    "account-key",
    "sas-token",
    "host",
    "user",
    "password",
    "key-path",
    "host-key",
    "concurrent-writes",
    "webdav-url",
    "webdav-username",
    "webdav-password",
    "jwt",
    "seed",
    "creds",
    "nkey",
    "username",
    "token",
    "tls",
    "root-cas",
    "client-cert",
    "client-key",
    "max-reconnects",
    "reconnect-wait",
    "timeout",
    "age",
    "auto-recover",
    "max-sync-ltx-files",
    "unknown-key",
];

const DATABASE: &[&str] = &[
    "path",
    "dir",
    "pattern",
    "recursive",
    "watch",
    "meta-path",
    "meta-dir",
    "monitor-interval",
    "checkpoint-interval",
    "busy-timeout",
    "min-checkpoint-page-count",
    "truncate-page-n",
    "max-sync-wal-bytes",
    "restore-if-db-not-exists",
    "replica",
    "replicas",
    "snapshot",
    "unknown-key",
];

const TOP: &[&str] = &[
    "addr",
    "socket",
    "levels",
    "snapshot",
    "validation",
    "l0-retention",
    "l0-retention-check-interval",
    "verify-compaction",
    "retention",
    "heartbeat-url",
    "heartbeat-interval",
    "dbs",
    "exec",
    "logging",
    "mcp-addr",
    "shutdown-sync-timeout",
    "shutdown-sync-interval",
    "unknown-key",
];

/// A variable that holds a secret, in the place of every value.
#[test]
fn no_value_of_a_variable_is_shown() {
    let mut files = Files::new();
    files.set("SECRET", CANARY);
    for key in REPLICA {
        for kind in ["s3", "file", "sftp", "webdav", "abs", "nats"] {
            for value in ["$SECRET", "x://u:$SECRET@h", "[$SECRET]", "{a: $SECRET}", "'a$SECRET.b'", "'s3://$SECRET'"] {
                let text = format!("dbs:\n  - path: /a.db\n    replica: {{type: {kind}, {key}: {value}}}\n");
                files.write("litestream.yml", &text);
                clean(&files, &text);
            }
        }
    }
    // A place is made of nothing but a bucket and an account.
    for value in ["$SECRET", "x://u:$SECRET@h", "'a$SECRET.b'"] {
        let replica = format!("{{type: abs, bucket: box, account-key: me, account-name: {value}}}");
        let text = format!("dbs:\n  - path: /a.db\n    replica: {replica}\n");
        files.write("litestream.yml", &text);
        assert!(clean(&files, &text).contains("not the name of an account"), "{text}");
        assert!(load(&files.input()).is_err(), "{text}");
    }
    for key in DATABASE {
        for value in ["$SECRET", "[$SECRET]", "{interval: $SECRET}", "a$SECRET*"] {
            let text = format!("dbs:\n  - path: /a.db\n    {key}: {value}\n    replica: {{path: /r}}\n");
            files.write("litestream.yml", &text);
            clean(&files, &text);
        }
    }
    for key in TOP {
        for value in ["$SECRET", "[$SECRET]", "{interval: $SECRET}", "[{interval: $SECRET}]"] {
            let text = format!("dbs: [{{path: /a.db, replica: {{path: /r}}}}]\n{key}: {value}\n");
            files.write("litestream.yml", &text);
            clean(&files, &text);
        }
    }
}

/// A secret that is written where a URL belongs, or in one.
#[test]
fn of_a_url_only_what_was_understood_is_shown() {
    for url in [
        CANARY.to_owned(),
        format!("s3:{CANARY}"),
        format!("s3://me:{CANARY}@bkt:port/x"),
        format!("s3://bkt/x?secret={CANARY}%zz"),
        format!("sftp://me:{CANARY}@host/x"),
        format!("sftp://me:1/{CANARY}@host/x"),
        format!("sftp://{CANARY}@host/%zz"),
        format!("file://me:{CANARY}@host/x"),
        format!("nats://{CANARY}@host/bkt"),
        format!("abs://{CANARY}@box/x"),
        format!("abs://me:{CANARY}@box/x"),
        format!("ftp://me:{CANARY}@host/x"),
        format!("webdav://me:{CANARY}@host/x#{CANARY}"),
        format!("s3://bkt/x?endpoint=https://me:{CANARY}@host"),
        format!("s3://bkt/x?endpoint={CANARY}"),
    ] {
        let files = Files::new();
        files.write("litestream.yml", format!("dbs:\n  - path: /a.db\n    replica: {{url: '{url}'}}\n"));
        clean(&files, &url);
        if let Ok(loaded) = load(&files.input()) {
            let shown = place(&loaded.targets[0].replicas[0].location);
            assert!(!shown.contains(CANARY), "{url}: {shown}");
        }
        let own = Files::new();
        own.write("streamgauge.toml", format!("[[database]]\nname = 'x'\n[[database.replica]]\nurl = '{url}'\n"));
        clean(&own, &url);
    }
}

/// The rest of a password behind a `$` is no variable's name.
#[test]
fn a_dollar_in_a_password_shows_nothing_of_it() {
    let files = Files::new();
    for value in
        [format!("abc${CANARY}"), format!("${CANARY}"), format!("'x.${CANARY}'"), format!("abc${{a {CANARY}}}")]
    {
        files.write(
            "litestream.yml",
            format!("dbs: [{{path: /a.db, replica: {{path: /r, secret-access-key: {value}}}}}]\n"),
        );
        let said = clean(&files, &value);
        assert!(said.contains("Litestream takes a `$` here for a variable"), "{said}");
    }
    files.write("litestream.yml", format!("dbs: [{{path: /a.db, replica: {{path: '${{DIR:-{CANARY}}}/r'}}}}]\n"));
    assert!(clean(&files, "a default").contains("$DIR") || clean(&files, "a default").contains("${DIR…}"));
}

/// A file that was never meant: a link to the passwords of this machine, keys, an environment.
#[test]
fn a_file_that_is_none_is_not_quoted() {
    for text in [
        format!("root:$6${CANARY}$x:19000:0:99999:7:::\napp:$y$j9T${CANARY}:19000:0:99999:7:::\n"),
        format!("root:*:19000:0:99999:7:::\n{CANARY}:!:19000:0:99999:7:::\n"),
        format!("{CANARY} {CANARY}:\n  - x\n"),
        format!("machine host login me password {CANARY}\n"),
        format!("PASSWORD={CANARY}\nOTHER=x\n"),
        format!("[default]\naws_secret_access_key = {CANARY}\n"),
        format!("password: {CANARY}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"),
        format!("{{\"password\": \"{CANARY}\"}}"),
        format!("\"{CANARY}\n"),
        format!("&{CANARY} *{CANARY}\n"),
        format!("!{CANARY}!x y: %{CANARY}\n"),
        format!("a: '{CANARY}\n"),
        format!("? [{CANARY}]\n: x\n"),
    ] {
        for name in ["litestream.yml", "streamgauge.toml"] {
            let files = Files::new();
            files.write(name, &text);
            clean(&files, &text);
        }
    }
}

/// Every key of our own file with a secret of a kind that is nowhere expected.
#[test]
fn what_is_secret_in_our_own_file_is_never_quoted() {
    let receiver = |kind: &str, key: &str| {
        format!("[[database]]\npath = '/a.db'\n[[receiver]]\nkind = '{kind}'\n{key} = '{CANARY}'\n")
    };
    for kind in ["webhook", "slack", "ntfy", "pagerduty", "alertmanager", "smtp"] {
        for key in ["url", "password", "bearer-token", "routing-key", "unknown"] {
            let files = Files::new();
            files.write("streamgauge.toml", receiver(kind, key));
            clean(&files, &format!("{kind} {key}"));
        }
    }
    for key in ["access-key-id", "secret-access-key", "session-token", "sse-customer-key", "endpoint", "unknown"] {
        let files = Files::new();
        let text = format!("[[database]]\nname = 'x'\n[[database.replica]]\nurl = 's3://b'\n{key} = '{CANARY}'\n");
        files.write("streamgauge.toml", &text);
        clean(&files, key);
    }
}
