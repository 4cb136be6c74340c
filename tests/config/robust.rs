//! Whatever the files hold, a load ends with a configuration or with messages.

use proptest::prelude::*;
use streamgauge::domain::limits::CONFIG_BYTES_MAX;

use streamgauge::infrastructure::files::Stamp;

use super::{Files, load, messages};

#[test]
fn a_huge_file_is_refused() {
    for name in ["streamgauge.toml", "litestream.yml"] {
        let files = Files::new();
        files.write(name, vec![b'#'; CONFIG_BYTES_MAX as usize + 1]);
        assert_eq!(messages(&files.input()), [format!("{name}: more than 4194304 bytes")]);
    }
}

#[test]
fn a_file_that_variables_make_huge_is_refused() {
    let mut files = Files::new();
    files.write("litestream.yml", "# $A".repeat(1_000));
    files.set("A", &"x".repeat(5_000));
    assert_eq!(messages(&files.input()), ["litestream.yml: more than 4194304 bytes with its variables expanded"]);
}

#[test]
fn a_directory_is_not_a_file() {
    let files = Files::new();
    files.write("litestream.yml/x", "");
    assert_eq!(messages(&files.input()), ["litestream.yml: a directory, not a file"]);
}

#[test]
fn ten_thousand_databases_have_stable_names() {
    let files = Files::new();
    let tenant = |n: u32| format!("  - {{path: /srv/{n}/app.db, replica: {{url: 's3://bkt/{n}'}}}}\n");
    files.write("litestream.yml", format!("dbs:\n{}", (0..10_000).map(tenant).collect::<String>()));
    let forwards = files.load().targets;
    files.write("litestream.yml", format!("dbs:\n{}", (0..10_000).rev().map(tenant).collect::<String>()));
    assert_eq!(forwards, files.load().targets);
    assert_eq!((forwards.len(), forwards[0].name.as_str()), (10_000, "0/app"));
}

/// What YAML is made of, and what a `litestream.yml` says.
const YAML: &[&str] = &[
    "dbs",
    "path",
    "dir",
    "pattern",
    "replica",
    "replicas",
    "url",
    "type",
    "s3",
    "bucket",
    "age",
    "snapshot",
    "interval",
    "retention",
    "levels",
    "- ",
    ": ",
    ":\n",
    "\n",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a",
    "*a",
    "<<",
    "\"",
    "'",
    "|",
    ">",
    "#",
    "10",
    "1s",
    "s3://b/x",
    "sftp://u@h",
    "%zz",
    "~",
    "~/x",
    "null",
    "$A",
    "${",
];

/// What TOML is made of, and what a `streamgauge.toml` says.
const TOML: &[&str] = &[
    "[web]\n",
    "[log]\n",
    "[[database]]\n",
    "[[database.replica]]\n",
    "[litestream]\n",
    "url",
    "path",
    "name",
    "rpo",
    "level",
    "config",
    "path-map",
    "from",
    " = ",
    ".",
    "'x'",
    "'s3://b'",
    "'5m'",
    "5",
    "true",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\n",
    "\"",
    "#",
    "1979-05-27",
    "1e9",
    "0x",
];

fn text_of(words: &'static [&str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(words), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let files = Files::new();
        files.write("litestream.yml", &bytes).write("streamgauge.toml", &bytes);
        let _ = load(&files.input());
    }

    #[test]
    fn any_yaml_is_survived(text in text_of(YAML)) {
        let files = Files::new();
        files.write("litestream.yml", text);
        if let Err(refused) = load(&files.input()) {
            prop_assert!(!refused.problems.is_empty());
        }
    }

    #[test]
    fn any_toml_is_survived(text in text_of(TOML)) {
        let files = Files::new();
        files.write("streamgauge.toml", text);
        if let Err(refused) = load(&files.input()) {
            prop_assert!(!refused.problems.is_empty());
        }
    }
}

#[test]
fn it_is_known_of_which_files_a_configuration_was_made() {
    let files = Files::new();
    let own = "[[receiver]]\nname = \"ops\"\nkind = \"slack\"\nurl-file = \"hook\"\n";
    files.write("hook", "https://hooks.example/1").write("streamgauge.toml", own);
    let yaml = "dbs:\n  - path: /srv/app.db\n    replica: {url: file:///backup/app}\n";
    files.write("litestream.yml", yaml);
    for changed in ["litestream.yml", "streamgauge.toml", "hook"] {
        let read = {
            let loaded = files.load();
            assert!(loaded.read_all, "made of files alone");
            loaded.read
        };
        assert!(read.iter().all(Stamp::holds), "{changed}");
        let text = std::fs::read_to_string(files.path().join(changed)).unwrap();
        std::fs::remove_file(files.path().join(changed)).unwrap();
        assert!(!read.iter().all(Stamp::holds), "{changed} is gone");
        files.write(changed, text);
        assert!(!read.iter().all(Stamp::holds), "{changed} is another file");
    }
    // What a directory holds changes without a change of any file that was read.
    files.write(
        "litestream.yml",
        format!(
            "dbs:\n  - dir: {}\n    pattern: '*.db'\n    replica: {{url: file:///backup}}\n",
            files.path().display()
        ),
    );
    assert!(!files.load().read_all);
}
