//! What the commands make of a configuration: `config check`, and what is said to who names a place wrongly.

use std::process::Output;

use super::{Files, lab};

fn told(files: &Files, arguments: &[&str]) -> Output {
    let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
    command.args(arguments).current_dir(files.path()).env_remove("LITESTREAM_CONFIG");
    command.output().expect("an answer")
}

#[test]
fn each_problem_begins_with_the_word_for_it() {
    let files = Files::new();
    files.write(
        "litestream.yml",
        "dbs:\n  - path: /a.db\n    replica: {type: a}\n  - path: /b.db\n    replica: {type: b}\n",
    );
    let told = told(&files, &["config", "check", "--litestream.config", "litestream.yml"]);
    let error = files.short(&String::from_utf8_lossy(&told.stderr));
    let lines: Vec<_> = error.lines().collect();
    assert!(lines.len() > 1 && lines.iter().all(|line| line.starts_with("error: DIR/litestream.yml:")), "{error}");
}

/// A problem is shown with the warnings that explain it.
#[test]
fn a_variable_that_is_not_set_is_said_beside_what_follows_from_it() {
    let files = Files::new();
    files.write("litestream.yml", "dbs:\n  - path: /a.db\n    replica: {path: $REPLICA_URL}\n");
    let told = told(&files, &["config", "check", "--litestream.config", "litestream.yml"]);
    let error = files.short(&String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(2), "{error}");
    assert_eq!(
        error,
        "error: DIR/litestream.yml:3: dbs[0].replica.path: missing; a replica of kind file needs it; accepted: a \
         directory\nwarning: DIR/litestream.yml: $REPLICA_URL: not set in this process's environment; replaced with \
         nothing, as Litestream would do\n"
    );
}

/// What is watched is listed with where it is, names cannot drive the terminal, and what cannot be read is not called well.
#[test]
fn a_check_lists_where_everything_is() {
    let files = Files::new();
    let evil = "a\u{1b}[2J\u{202e}bd.db";
    files.database(evil).write(
        "litestream.yml",
        format!(
            "dbs:
  - {{dir: {}, pattern: '*.db', replica: {{path: /r}}}}
  - {{path: /b.db, replica: {{type: s3, bucket: bkt, endpoint: 'https://x.supabase.co/storage/v1/s3', region: eu}}}}
  - {{path: /c.db, replica: {{url: 'oss://bkt/c'}}}}
",
            files.path().display()
        ),
    );
    let told = told(&files, &["config", "check", "--litestream.config", "litestream.yml"]);
    let out = files.short(&String::from_utf8_lossy(&told.stdout));
    let error = String::from_utf8_lossy(&told.stderr);
    assert_eq!(
        out,
        "a\\u{1b}[2J\\u{202e}bd  DIR/a\\u{1b}[2J\\u{202e}bd.db
    file  file:///r/a\\u{1b}[2J\\u{202e}bd.db
    drilled daily, or every 30 days above a download of 1 GiB, up to 10.0 GiB
b  /b.db
    s3  s3://bkt  endpoint https://x.supabase.co/storage/v1/s3  region eu
    drilled daily, or every 30 days above a download of 1 GiB, up to 10.0 GiB
c  /c.db
    oss  oss://bkt/c  region cn-hangzhou
    drilled daily, or every 30 days above a download of 1 GiB, up to 10.0 GiB
ok: 3 databases, 0 warnings
",
        "{error}"
    );
}

#[test]
fn a_directory_that_is_meant_as_a_replica_is_named_by_its_url() {
    let files = Files::new();
    files.write("rep/ltx/0/x", "").write("litestream.yml", "dbs: [{path: /a.db, replica: {path: /r}}]");
    let hint =
        format!("hint: name a replica in a directory by its URL: file://{}\n", files.path().join("rep").display());
    for arguments in [
        &["restore", "./rep", "-o", "out.db"][..],
        &["restore", "rep", "-o", "out.db", "--litestream.config", "litestream.yml"],
        &["restorable", "./rep", "--litestream.config", "litestream.yml"],
        &["drill", "./rep", "--litestream.config", "litestream.yml"],
    ] {
        let told = told(&files, arguments);
        let error = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(!told.status.success() && error.ends_with(&hint), "{arguments:?}: {error}");
    }
}

#[test]
fn a_restore_as_of_the_future_is_refused() {
    let files = Files::new();
    files.write("rep/x", "");
    let url = format!("file://{}", files.path().join("rep").display());
    let told = told(&files, &["restore", &url, "-o", "out.db", "--at", "2999-01-01T00:00:00Z"]);
    let error = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: --at \"2999-01-01T00:00:00Z\": in the future; it is now "), "{error}");
    assert!(error.contains("hint: omit --at for the newest state"), "{error}");
}

#[test]
fn a_place_that_cannot_be_listed_is_not_ok() {
    let files = Files::new();
    let toml = format!("[[observe]]\nurl = \"file://{}/nowhere\"\n", files.path().display());
    files.write("streamgauge.toml", toml);
    let told = told(&files, &["config", "check", "--config.file", "streamgauge.toml"]);
    let (out, error) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!((told.status.code(), &*out), (Some(2), "incomplete: 0 databases, 0 warnings\n"), "{error}");
    assert!(error.starts_with("error: file://") && error.contains("no such file"), "{error}");
}

#[test]
fn a_mistake_in_one_file_does_not_hide_those_in_another() {
    let files = Files::new();
    files.write("web.yml", "basic_auth_users:\n  alice: not a hash\n").write("none.yml", "dbs: [{}]\n");
    let check = ["config", "check", "--web.config.file", "web.yml", "--litestream.config", "none.yml"];
    let told = told(&files, &check);
    let error = files.short(&String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: DIR/none.yml:1: "), "{error}");
    assert!(error.contains("\nerror: DIR/web.yml:2: basic_auth_users.alice: not a bcrypt hash"), "{error}");
}
