//! Replicas that somebody made on purpose. A restore gives exactly what the genuine Litestream gives, or refuses and names
//! the object; a drill never passes what is refused. One more of them is one more entry of [`CASES`].

use std::fs;
use std::path::Path;

use streamgauge_testkit::ltx::{self, Payload, Writer, lz4_frame_of_single_bytes};

use crate::lab::{Lab, command};
use crate::site::{Drilled, VERSION, left, run};

/// An LTX file, which may lie in everything that it says.
#[derive(Clone)]
struct Ltx {
    level: u8,
    page_size: u32,
    commit: u32,
    min: u64,
    max: u64,
    /// Milliseconds.
    timestamp: u64,
    pages: Vec<(u32, Vec<u8>)>,
    /// Each byte of a page is a block of its own.
    single_bytes: bool,
    /// What the index says instead of the truth: page, offset and length.
    index: Option<Vec<u64>>,
    /// Its name, without `.ltx`.
    name: Option<String>,
    /// Bytes behind its end.
    behind: Vec<u8>,
}

impl Ltx {
    fn file_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| ltx::name(self.min, self.max))
    }

    fn encode(&self) -> Vec<u8> {
        let mut file = b"LTX1\0\0\0\x02".to_vec();
        file.extend([self.page_size, self.commit].iter().flat_map(|word| word.to_be_bytes()));
        file.extend([self.min, self.max, self.timestamp].iter().flat_map(|word| word.to_be_bytes()));
        file.resize(100, 0);
        let mut writer = Writer::new(&file);
        for (number, page) in &self.pages {
            match self.single_bytes {
                true => writer.page(*number, Payload::Frame(&lz4_frame_of_single_bytes(page)), page),
                false => writer.block(*number, page),
            }
        }
        if let Some(index) = &self.index {
            writer.index.clone_from(index);
        }
        [writer.finish(), self.behind.clone()].concat()
    }
}

/// What a restore has to come to.
#[derive(Clone, Copy, Debug)]
enum Ours {
    /// The bytes that Litestream restores.
    Same,
    /// An error that says this.
    Refused(&'static str),
}
use Ours::{Refused, Same};

/// What it is called, what is done to the sound files, and what a restore has to come to.
type Case = (&'static str, fn(&mut Vec<Ltx>), Ours);

/// A snapshot of TXID 1, which is sound, and a file of TXID 2 that changes one page; what becomes of them, and what is
/// to come of that.
const CASES: &[Case] = &[
    ("nothing at all", |_| (), Same),
    ("no pages any more", |files| files[1] = Ltx { commit: 0, pages: Vec::new(), ..files[1].clone() }, Refused(SECOND)),
    (
        "a snapshot of no pages",
        |files| {
            files.truncate(1);
            files[0] = Ltx { commit: 0, pages: Vec::new(), ..files[0].clone() };
        },
        Refused(FIRST),
    ),
    (
        "a snapshot that is no database",
        |files| files[0].pages[0].1.fill(b'Z'),
        Refused("page 1 does not begin a database"),
    ),
    (
        "a first page of another page size",
        |files| files[0].pages[0].1[16..18].copy_from_slice(&[16, 0]),
        Refused("page 1 belongs to a database with pages of 4096 bytes"),
    ),
    ("page 0", |files| files[1].pages[0].0 = 0, Refused(SECOND)),
    ("a page beyond the end", |files| files[1].pages[0].0 = 4_000, Refused(SECOND)),
    ("the last page there could be", |files| files[1].pages[0].0 = u32::MAX, Refused(SECOND)),
    (
        "the page of the locks",
        |files| files[1] = Ltx { commit: 3_000_000, pages: vec![(2_097_153, vec![7; 512])], ..files[1].clone() },
        Refused(SECOND),
    ),
    (
        "pages in another order",
        |files| {
            let more = files[0].pages[2].clone();
            files[1].pages.insert(0, more);
        },
        Refused(SECOND),
    ),
    (
        "a page twice",
        |files| {
            let again = files[1].pages[0].clone();
            files[1].pages.push(again);
        },
        Refused(SECOND),
    ),
    ("an index of another page", |files| files[1].index = Some(vec![3, 100, 20]), Refused(SECOND)),
    ("an index of huge numbers", |files| files[1].index = Some(vec![u64::MAX, u64::MAX, u64::MAX]), Refused(SECOND)),
    (
        "a name of more TXIDs",
        |files| files[1].name = Some(name(2, 3)),
        Refused("0000000000000002-0000000000000003.ltx"),
    ),
    ("the last TXID there could be", |files| files.push(Ltx { min: 3, max: u64::MAX, ..files[1].clone() }), Same),
    (
        "the last TXID there could be, behind a hole",
        |files| files.push(Ltx { min: u64::MAX, max: u64::MAX, ..files[1].clone() }),
        Refused("ffffffffffffffff"),
    ),
    (
        "names that overlap",
        |files| {
            files[1].max = 4;
            files.push(Ltx { min: 3, max: 5, ..files[1].clone() });
        },
        Same,
    ),
    ("the year 9999", |files| files[1].timestamp = 253_402_207_200_000, Same),
    ("a time before all times", |files| files[1].timestamp = u64::MAX - 1_000, Same),
    ("a time that no calendar has", |files| files[1].timestamp = 1 << 62, Refused(SECOND)),
    ("a database of terabytes", |files| files[1].commit = u32::MAX, Refused(SECOND)),
    (
        "pages of 64 KiB, and four billion of them",
        |files| {
            files[0] =
                Ltx { page_size: 65_536, commit: u32::MAX, pages: vec![(1, vec![0; 65_536])], ..files[0].clone() }
        },
        Refused("ltx"),
    ),
    (
        "a page size of its own",
        |files| files[1] = Ltx { page_size: 1024, pages: vec![(2, vec![7; 1024])], ..files[1].clone() },
        Refused("of 1024 in the other files"),
    ),
    (
        "the same name in capitals",
        |files| files.push(Ltx { name: Some(name(2, 2).to_uppercase()), ..files[0].clone() }),
        Same,
    ),
    ("blocks of one byte", |files| files.iter_mut().for_each(|file| file.single_bytes = true), Same),
    (
        "the last TXID there could be, twice",
        |files| {
            files[1].max = u64::MAX;
            files.push(Ltx { min: u64::MAX, ..files[1].clone() });
        },
        Refused("ffffffffffffffff"),
    ),
    (
        "a snapshot that does not begin at the beginning",
        |files| {
            files.truncate(1);
            files[0] = Ltx { min: 5, max: 5, ..files[0].clone() };
        },
        Refused("0000000000000005-0000000000000005.ltx"),
    ),
    (
        "a name that ends before it begins",
        |files| files.push(Ltx { name: Some(name(9, 3)), ..files[1].clone() }),
        Refused("0000000000000009-0000000000000003.ltx"),
    ),
    (
        "a snapshot whose name ends before it begins",
        |files| files.push(Ltx { name: Some(name(9, 3)), ..files[0].clone() }),
        Refused("ltx/9/0000000000000009-0000000000000003.ltx"),
    ),
    (
        "a name that ends before it begins, and is not looked at",
        |files| files.push(Ltx { name: Some(name(2, 1)), ..files[1].clone() }),
        Same,
    ),
    ("more bytes than there should be", |files| files[1].behind = b"junk".to_vec(), Refused(SECOND)),
];

const FIRST: &str = "0000000000000001-0000000000000001.ltx";
const SECOND: &str = "0000000000000002-0000000000000002.ltx";

fn name(min: u64, max: u64) -> String {
    format!("{min:016x}-{max:016x}.ltx")
}

/// Databases that mean harm to who looks into them: the statements that make one, what a drill of it comes to, and a text
/// of its record.
const SCHEMAS: &[(&str, &str, &str, &str)] = &[
    (
        "a view without end, under a name that queries use",
        "create view t as with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
        "passed",
        "",
    ),
    (
        "triggers on everything",
        "create table t(x); create trigger a after insert on t begin delete from t; end; insert into t values (1)",
        "passed",
        "",
    ),
    (
        "a constraint with a function of the application's own",
        "create table t(x); insert into t values (1); pragma writable_schema = 1;
         update sqlite_schema set sql = 'CREATE TABLE t(x CHECK (its_own(x)))'",
        "passed",
        "not verified: unknown function: its_own()",
    ),
    (
        "a constraint that takes all memory",
        "pragma ignore_check_constraints = 1; create table t(x check (length(hex(zeroblob(490000000))) > x));
         insert into t values (1)",
        "passed",
        "not verified: ",
    ),
    (
        "a constraint that compares without end",
        "pragma ignore_check_constraints = 1;
         create table t(x check (instr(zeroblob(60000000), cast(zeroblob(30000000) || x'01' as blob)) = x));
         insert into t values (1)",
        "inconclusive",
        "\"kind\":\"timeout\"",
    ),
    (
        "a constraint that loads code",
        "create table t(x); pragma writable_schema = 1;
         update sqlite_schema set sql = 'CREATE TABLE t(x CHECK (load_extension(''/tmp/x'')))'",
        "failed",
        "unsafe use of load_extension()",
    ),
    (
        "a table of a module that nobody has",
        "create table t(x); pragma writable_schema = 1;
         insert into sqlite_schema values ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nobody(x)')",
        "passed",
        "",
    ),
    (
        "a schema that ends in the middle",
        "create table t(x); pragma writable_schema = 1; update sqlite_schema set sql = 'CREATE TABLE t('",
        "failed",
        "malformed database schema",
    ),
    (
        "two tables in the same pages",
        "create table t(x); create table u(x); insert into t values (1); pragma writable_schema = 1;
         update sqlite_schema set rootpage = 2",
        "failed",
        "quick_check",
    ),
    (
        "a name that speaks to terminals",
        "pragma ignore_check_constraints = 1; create table \"t\u{1b}[2J\"(x check (x > 0));
         insert into \"t\u{1b}[2J\" values (-1)",
        "failed",
        "CHECK constraint failed in t [2J",
    ),
];

/// A database of some pages of 512 bytes.
fn database() -> Vec<(u32, Vec<u8>)> {
    let rows = "with recursive n(i) as (select 1 union all select i + 1 from n limit 60) insert into t select i || 'row' from n";
    database_of(&format!("create table t(x); {rows}"))
}

fn database_of(sql: &str) -> Vec<(u32, Vec<u8>)> {
    let mut connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(&format!("pragma page_size = 512; {sql}")).unwrap();
    let bytes = connection.serialize("main").unwrap();
    (1..).zip(bytes.chunks(512).map(<[u8]>::to_vec)).collect()
}

/// A sound replica.
fn sound() -> Vec<Ltx> {
    let pages = database();
    let commit = pages.len() as u32;
    let second = pages[1].clone();
    let snapshot = Ltx {
        level: 9,
        page_size: 512,
        commit,
        min: 1,
        max: 1,
        timestamp: 1_795_338_790_367,
        pages,
        single_bytes: false,
        index: None,
        name: None,
        behind: Vec::new(),
    };
    vec![snapshot.clone(), Ltx { level: 0, min: 2, max: 2, pages: vec![second], ..snapshot }]
}

fn write(replica: &Path, files: &[Ltx]) {
    let _ = fs::remove_dir_all(replica);
    for file in files {
        let folder = replica.join(format!("ltx/{}", file.level));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file.file_name()), file.encode()).unwrap();
    }
}

/// What is wrong with how one of them ended, if anything is.
fn judge(lab: &Lab, home: &Path, ours: Ours) -> Option<String> {
    let (theirs, own) = (home.join("theirs.db"), home.join("ours.db"));
    for path in [&theirs, &own] {
        let _ = fs::remove_file(path);
    }
    let url = format!("file://{}", home.join("replica").display());
    let genuine = lab.restore(VERSION, &url, &theirs);
    let restored = command(env!("CARGO_BIN_EXE_streamgauge")).args(["restore", &url, "-o"]).arg(&own).output().unwrap();
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    let drilled = drill(home, &url, "60s");
    let (result, reason) = (drilled.result().to_owned(), drilled.reason());
    if said.contains("panicked") || drilled.stderr.contains("panicked") {
        return Some(format!("a panic: {said} {}", drilled.stderr));
    }
    match ours {
        Same if genuine.is_err() => Some(format!("Litestream refuses it: {genuine:?}")),
        Same if restored.status.code() != Some(0) => Some(format!("rejected: {said}")),
        Same if fs::read(&own).unwrap() != fs::read(&theirs).unwrap() => Some("other bytes".to_owned()),
        Same if result != "passed" => Some(format!("the drill {result}: {reason}")),
        Same => None,
        Refused(_) if restored.status.code() != Some(2) || own.exists() => Some(format!("restored: {said}")),
        Refused(why) if !said.contains(why) => Some(format!("does not say {why}: {said}")),
        Refused(_) if result == "passed" => Some("the drill passed".to_owned()),
        Refused(why) if !reason.contains(why) => Some(format!("the drill does not say {why}: {reason}")),
        Refused(_) => None,
    }
}

fn drill(home: &Path, url: &str, timeout: &str) -> Drilled {
    let config = home.join("streamgauge.toml");
    fs::write(&config, format!("[storage]\npath = {:?}\n", home.join("storage"))).unwrap();
    let scratch = home.join("scratch");
    let mut drill = command(env!("CARGO_BIN_EXE_streamgauge"));
    drill
        .args(["drill", url, "--timeout", timeout, "--format", "json", "--config.file"])
        .arg(config)
        .arg("--scratch")
        .arg(&scratch);
    let drilled = run(&mut drill);
    assert_eq!(left(&scratch), Vec::<std::path::PathBuf>::new());
    drilled
}

#[test]
fn a_hostile_replica_restores_as_litestream_does_or_is_refused_by_name() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (case, change, ours) in CASES {
        let mut files = sound();
        change(&mut files);
        write(&home.path().join("replica"), &files);
        wrong.extend(judge(&lab, home.path(), *ours).map(|found| format!("{case}: {found}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hostile_schema_is_looked_at_without_harm() {
    Lab::find();
    let home = tempfile::tempdir().unwrap();
    let url = format!("file://{}", home.path().join("replica").display());
    let mut wrong = Vec::new();
    for (case, sql, result, said) in SCHEMAS {
        let mut files = sound();
        files.truncate(1);
        files[0].pages = database_of(sql);
        files[0].commit = files[0].pages.len() as u32;
        write(&home.path().join("replica"), &files);
        let timeout = if *result == "inconclusive" { "5s" } else { "60s" };
        let drilled = drill(home.path(), &url, timeout);
        let record = drilled.record().to_string();
        if drilled.result() != *result || !record.contains(said) || drilled.stderr.contains('\u{1b}') {
            wrong.push(format!("{case}: {record} {}", drilled.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_replica_of_no_pages_is_critical_in_one_look() {
    Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (replica, database) = (home.path().join("replica"), home.path().join("app.db"));
    let mut files = sound();
    files[1] = Ltx { commit: 0, pages: Vec::new(), ..files[1].clone() };
    write(&replica, &files);
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch("pragma journal_mode = wal; create table t(x)")
        .unwrap();
    let (yaml, toml) = (home.path().join("litestream.yml"), home.path().join("streamgauge.toml"));
    let replica = format!("{{type: file, path: {}}}", replica.display());
    fs::write(&yaml, format!("dbs:\n  - path: {}\n    replica: {replica}\n", database.display())).unwrap();
    fs::write(&toml, format!("[litestream]\nconfig = [{yaml:?}]\n[storage]\npath = \"\"\n")).unwrap();
    let checked =
        command(env!("CARGO_BIN_EXE_streamgauge")).args(["check", "--config.file"]).arg(toml).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("{SECOND} is corrupt: the database has no pages after it")), "{said}");
}
