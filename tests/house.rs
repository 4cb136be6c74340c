//! The rules of the house that a compiler does not know.

#![expect(clippy::unwrap_used, reason = "a source tree that cannot be read fails the test")]

mod house {
    pub(crate) mod documents;
    pub(crate) mod functions;
    pub(crate) mod modules;
}

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Lines in a file before it has to be split along a noun.
const FILE_LINES_MAX: usize = 400;

/// Files that are longer, and why.
const LONG_FILES: &[(&str, &str)] = &[("src/domain/limits.rs", "every bound of the agent stands in one place")];

/// Lines of code in a function before a part of it gets a name.
const FUNCTION_LINES_MAX: usize = 60;

/// Files that may need each other.
const CIRCLE_FILES_MAX: usize = 3;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.strip_prefix(ROOT).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The part of a file that is shipped.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

fn refuse(folder: &str, words: &[&str], why: &str) {
    refuse_except(folder, &[], words, why);
}

/// As [`refuse`], but for files of these names.
fn refuse_except(folder: &str, except: &[&str], words: &[&str], why: &str) {
    let mut found = Vec::new();
    let excepted = |path: &Path| except.iter().any(|name| path.file_name().unwrap() == *name);
    for (path, text) in sources(folder).into_iter().filter(|(path, _)| !excepted(path)) {
        for (number, line) in shipped(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in words.iter().filter(|word| code.contains(**word)) {
                found.push(format!("{}:{}: `{word}`", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{why}\n{}", found.join("\n"));
}

#[test]
fn domain_is_pure() {
    refuse(
        "src/domain",
        &[
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "std::thread",
            "tokio",
            "hyper",
            "rusqlite",
            "rustix",
            "tracing",
            "async fn",
            "::now()",
            "println!",
            "unsafe",
        ],
        "domain/ does no IO, reads no clock, logs nothing and spawns nothing: move this to usecase/ or infrastructure/",
    );
}

#[test]
fn dependencies_point_inwards() {
    refuse(
        "src/domain",
        &["crate::usecase", "crate::infrastructure", "crate::delivery"],
        "domain/ knows nobody: move what it needs inwards",
    );
    refuse(
        "src/usecase",
        &[
            "crate::infrastructure",
            "crate::delivery",
            "std::fs",
            "std::net",
            "std::thread",
            "runtime::Builder",
            "Timestamp::now",
            "SystemTime::now",
        ],
        "usecase/ knows the outside world through ports only: add what it needs to ports",
    );
    refuse("src/infrastructure", &["crate::delivery"], "infrastructure/ does not know the faces");
}

#[test]
fn sizes_of_what_comes_from_outside_are_bounded_in_one_file() {
    refuse_except(
        "src",
        &["limits.rs"],
        &["BYTES_MAX: ", "CHARS_MAX: "],
        "a bound stands in domain/limits.rs, and what a format or its writer says is the largest has another name",
    );
}

#[test]
fn watched_files_are_only_read() {
    refuse(
        "src/infrastructure/database",
        &[
            "rusqlite",
            "File::create",
            ".write(true)",
            "fs::write",
            "remove_file",
            "rename(",
            "fcntl_lock",
            "flock(",
            "set_len",
        ],
        "what is watched is never changed or locked, and never opened by SQLite",
    );
    let writes = [
        ".put_object",
        ".delete_object",
        "Method::PUT",
        "Method::POST",
        "Method::DELETE",
        "File::create",
        ".write(true)",
        "fs::write",
        "remove_file",
        "set_len",
        "CREATE",
        "WRONLY",
        "renameat",
        "unlinkat",
        "OpenFlags::WRITE",
        ".mkdir(",
        "raw.remove(",
        ".rename(",
        ".extended(",
        "Nats-Rollup",
        "$O.{bucket}.C.{nuid}",
    ];
    // Grants of tokens are asked of who gives them, and not of stores.
    let except = ["beacon.rs", "grant.rs"];
    refuse_except("src/infrastructure/store", &except, &writes, "stores have no write method but the beacon's");
    refuse("src/infrastructure/store", &["STREAM.PURGE"], "nothing is purged by what a server says");
}

#[test]
fn kinds_of_stores_are_matched_in_one_file() {
    let mut found = Vec::new();
    for (path, text) in shipped_sources().into_iter().filter(|(path, _)| !path.ends_with("domain/target.rs")) {
        // A macro's arguments are not parsed.
        let words: String = shipped(&text).split_whitespace().collect();
        let in_macro = words
            .split("matches!(")
            .skip(1)
            .any(|rest| rest.split_once(')').is_some_and(|(head, _)| head.contains("ReplicaLocation::")));
        if in_macro || house::functions::matches_on("ReplicaLocation", &text) {
            found.push(path.display().to_string());
        }
    }
    assert!(
        found.is_empty(),
        "what follows from a kind of store is answered in domain/target.rs:\n{}",
        found.join("\n")
    );
}

#[test]
fn every_file_says_what_it_owns_and_stays_readable() {
    let mut found = Vec::new();
    for (path, text) in shipped_sources() {
        if !text.starts_with("//!") {
            found.push(format!("{}: begins without a `//!` sentence that says what it owns", path.display()));
        }
        let lines = shipped(&text).lines().count();
        let excepted = LONG_FILES.iter().any(|(long, _)| path == Path::new(long));
        if lines > FILE_LINES_MAX && !excepted {
            found.push(format!("{}: {lines} lines; split it along a noun", path.display()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Files that only tests have are left out.
fn shipped_sources() -> Vec<(PathBuf, String)> {
    let mut all = [sources("src"), sources("testkit/src")].concat();
    let tests: Vec<PathBuf> = all.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    all.retain(|(path, _)| !tests.iter().any(|test| path == &test.with_extension("rs") || path.starts_with(test)));
    all
}

/// Where the modules lie that a file declares for its tests.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_name().unwrap().to_str().unwrap() {
        "mod.rs" | "lib.rs" | "main.rs" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let file = syn::parse_file(text).unwrap();
    let declared = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && house::modules::is_test(&module.attrs) => {
            Some(folder.join(module.ident.to_string()))
        }
        _ => None,
    });
    declared.collect()
}

#[test]
fn no_circle_of_modules() {
    let circles = house::modules::circles(&house::modules::uses());
    let large: Vec<_> = circles.iter().filter(|circle| circle.len() > CIRCLE_FILES_MAX).collect();
    assert!(large.is_empty(), "these files cannot be understood one without the others: {large:#?}");
}

#[test]
fn functions_stay_readable() {
    let mut long = Vec::new();
    for (path, text) in shipped_sources() {
        for function in house::functions::functions(&text) {
            if function.lines > FUNCTION_LINES_MAX {
                long.push(format!("{}: {} has {} lines", path.display(), function.name, function.lines));
            }
        }
    }
    assert!(long.is_empty(), "name a part of it:\n{}", long.join("\n"));
}

#[test]
fn clocks_are_read_in_one_file() {
    let mut found = Vec::new();
    for (path, text) in shipped_sources() {
        for word in ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", ".elapsed()", "clock_gettime"] {
            let code = shipped(&text).lines().any(|line| line.split("//").next().unwrap().contains(word));
            if code && path != Path::new("src/infrastructure/clock.rs") {
                found.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "ask the clock of whoever calls:\n{}", found.join("\n"));
}

/// A sentence for a person may point to a metric; a literal that is nothing but its name declares or computes with it.
#[test]
fn each_metric_is_named_in_one_file() {
    let all = fs::read_to_string(Path::new(ROOT).join("docs/METRICS.md")).unwrap();
    let row =
        |line: &str| line.strip_prefix("| `streamgauge_")?.split('`').next().map(|name| format!("streamgauge_{name}"));
    let names: Vec<String> = all.lines().filter_map(row).collect();
    assert!(names.len() > 100, "{names:?}");
    let sources = shipped_sources();
    for name in names {
        let stem = name.strip_suffix("_total").unwrap_or(&name);
        let literals = [format!("\"{stem}\""), format!("\"{stem}_total\""), format!("\"{stem}{{")];
        let names_it = |text: &str| literals.iter().any(|literal| shipped(text).contains(literal));
        let found: Vec<_> = sources.iter().filter(|(_, text)| names_it(text)).map(|(path, _)| path).collect();
        assert_eq!(found.len(), 1, "{name} is declared once, in domain/number: {found:?}");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for folder in ["src", "testkit/src"] {
        refuse(
            folder,
            &["todo!(", "unimplemented!(", "FIXME", "dbg!("],
            "finish it or say in an issue what is missing",
        );
    }
}

/// The compiler takes what is public for used by somebody; a name that stands nowhere else is used by nobody.
#[test]
fn what_is_public_is_used() {
    let folders = ["src", "tests", "benches", "fuzz/fuzz_targets"];
    let all: String = folders.into_iter().flat_map(sources).map(|(_, text)| text).collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for word in all.split(|character: char| !character.is_alphanumeric() && character != '_') {
        *uses.entry(word).or_default() += 1;
    }
    let declared = |line: &str| {
        let rest = ["pub fn ", "pub async fn ", "pub const fn ", "pub const ", "pub struct ", "pub enum "]
            .into_iter()
            .find_map(|begin| line.trim_start().strip_prefix(begin))?;
        rest.split(|character: char| !character.is_alphanumeric() && character != '_').next().map(str::to_owned)
    };
    let mut unused = Vec::new();
    for (path, text) in sources("src") {
        let names = shipped(&text).lines().filter_map(declared);
        unused.extend(names.filter(|name| uses[name.as_str()] == 1).map(|name| format!("{}: {name}", path.display())));
    }
    assert!(unused.is_empty(), "nobody uses these:\n{}", unused.join("\n"));
}

/// Building the fuzz crate costs minutes; that its targets are there and call what exists is seen without.
#[test]
fn every_parser_has_a_fuzz_target() {
    use streamgauge::domain::fuzz::{beacon, saved};
    use streamgauge::domain::{litestream, sqlite};
    use streamgauge::infrastructure::{config, endpoint, store};
    type Entry = (&'static str, &'static str, fn(&[u8]));
    let entries: &[Entry] = &[
        ("ltx_header", "domain::litestream::fuzz::ltx_header", litestream::fuzz::ltx_header),
        ("ltx_file", "domain::litestream::fuzz::ltx_file", litestream::fuzz::ltx_file),
        ("page_index", "domain::litestream::fuzz::page_index", litestream::fuzz::page_index),
        ("v3_segment", "domain::litestream::fuzz::v3_segment", litestream::fuzz::v3_segment),
        ("v3_replay", "domain::litestream::fuzz::v3_replay", litestream::fuzz::v3_replay),
        ("names", "domain::litestream::fuzz::names", litestream::fuzz::names),
        ("wal", "domain::sqlite::fuzz::wal", sqlite::fuzz::wal),
        ("wal_index", "domain::sqlite::fuzz::wal_index", sqlite::fuzz::wal_index),
        ("database_header", "domain::sqlite::fuzz::database_header", sqlite::fuzz::database_header),
        ("beacon", "domain::fuzz::beacon", beacon),
        ("saved", "domain::fuzz::saved", saved),
        ("litestream_yml", "infrastructure::config::fuzz::litestream", config::fuzz::litestream),
        ("streamgauge_toml", "infrastructure::config::fuzz::own", config::fuzz::own),
        ("values", "infrastructure::config::fuzz::values", config::fuzz::values),
        ("sections", "infrastructure::config::fuzz::sections", config::fuzz::sections),
        ("web_config", "infrastructure::endpoint::fuzz", endpoint::fuzz),
        ("listings", "infrastructure::store::fuzz::listings", store::fuzz::listings),
    ];
    let targets = fs::read_dir(Path::new(ROOT).join("fuzz/fuzz_targets")).unwrap().count();
    assert_eq!(targets, entries.len(), "a target is missing here");
    let manifest = fs::read_to_string(Path::new(ROOT).join("fuzz/Cargo.toml")).unwrap();
    for (name, function, target) in entries {
        let file = fs::read_to_string(Path::new(ROOT).join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        let call = format!("streamgauge::{function}(");
        assert!(file.contains(&call), "fuzz_targets/{name}.rs does not call {call}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml does not name {name}");
        target(b"");
        target(&[0xff; 300]);
    }
}
