//! Databases and queries that mean harm.

use super::*;

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new(sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("db ?#%")).unwrap();
        connection.execute_batch(sql).unwrap();
        Self { directory }
    }

    fn copy(&self) -> SqliteCopy {
        // SQLite has one limit for all connections of a process: other tests would meet it.
        let memory_max = if std::env::var_os(ALONE).is_some() { 64 << 20 } else { 4 << 30 };
        let mut copy = SqliteCopy::open(&self.directory.path().join("db ?#%"), memory_max).unwrap();
        copy.set_deadline(Duration::from_secs(60));
        copy
    }

    /// How many files there are.
    fn files(&self) -> usize {
        std::fs::read_dir(self.directory.path()).unwrap().count()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("db ?#%")).unwrap()
    }
}

fn sound() -> Soundness {
    Soundness { problems: Vec::new(), constraints: Ok(Vec::new()) }
}

/// Set where a test that needs little memory to be allowed runs in a process of its own.
const ALONE: &str = "STREAMGAUGE_TEST_ALONE";

/// Whether this process runs the calling test only. If not, one that does is started and has to pass.
fn is_alone() -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let said = alone.args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&said.stderr));
    false
}

const TABLE: &str = "create table t(x); insert into t values (7), (8)";

#[test]
fn answers_come_as_they_are() {
    let bench = Bench::new(TABLE);
    let mut copy = bench.copy();
    for (query, expected) in [
        ("select count(*) from t", Answer::Integer(2)),
        ("select 1.5", Answer::Real(1.5)),
        ("select 'a'", Answer::Text("a".into())),
        ("select null", Answer::Null),
        ("select x'0102'", Answer::Blob(2)),
        ("select x from t", Answer::Several),
        ("select 1, 2", Answer::Several),
        ("select x from t where 0", Answer::NoRow),
        ("select count(*) from pragma_table_info('t')", Answer::Integer(1)),
        (
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select sum(i) from n",
            Answer::Integer(55),
        ),
    ] {
        assert_eq!(copy.probe(query), Ok(expected), "{query}");
    }
}

#[test]
fn a_probe_cannot_write_attach_or_change_settings() {
    let bench = Bench::new(TABLE);
    let before = bench.bytes();
    let other = bench.directory.path().join("other");
    let mut copy = bench.copy();
    let attach = format!("attach '{}' as other", other.display());
    let vacuum = format!("vacuum into '{}'", other.display());
    for query in [
        "insert into t values (9)",
        "insert into t values (9) returning x",
        "update t set x = 1",
        "delete from t",
        "drop table t",
        "create table u(x)",
        "create temp table u(x)",
        "create temp trigger g after insert on t begin select 1; end",
        "alter table t add column y",
        "pragma writable_schema = 1",
        "pragma query_only = 0",
        "pragma journal_mode = delete",
        "pragma hard_heap_limit = 0",
        "pragma user_version = 7",
        "begin immediate",
        "savepoint s",
        "reindex",
        "analyze",
        "vacuum",
        &vacuum,
        &attach,
        "select load_extension('/x')",
        "create virtual table v using fts5(x)",
        "select 1; delete from t",
    ] {
        let reason = copy.probe(query).expect_err(query);
        assert_ne!(reason.kind, ReasonKind::Corrupt, "{query}: {reason}");
    }
    assert!(bench.bytes() == before && !other.exists());
    assert_eq!(bench.files(), 1);
}

#[test]
fn a_probe_cannot_run_for_ever() {
    let bench = Bench::new(TABLE);
    let mut copy = bench.copy();
    copy.set_deadline(Duration::from_millis(50));
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    assert_eq!(copy.probe(endless).unwrap_err().kind, ReasonKind::Timeout);
    copy.set_deadline(Duration::from_secs(60));
    assert_eq!(copy.probe("select 1"), Ok(Answer::Integer(1)), "the next one is not affected");
}

#[test]
fn a_probe_cannot_eat_the_memory() {
    if !is_alone() {
        return;
    }
    let bench = Bench::new(TABLE);
    let mut copy = bench.copy();
    for query in [
        "select zeroblob(1000000000)",
        "select randomblob(500000000)",
        "select printf('%.*c', 900000000, 'x')",
        "with recursive n(i) as (select 1 union all select i + 1 from n limit 3000000) select group_concat(i || 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') from n",
        "with recursive n(i) as (select 1 union all select i + 1 from n limit 300) \
         select count(*) from (select distinct randomblob(1000000) from n)",
    ] {
        let reason = copy.probe(query).expect_err(query);
        assert_eq!(reason.kind, ReasonKind::Failed, "{query}: {reason}");
    }
    assert_eq!(copy.probe("select 1"), Ok(Answer::Integer(1)));
}

#[test]
fn views_and_triggers_of_the_database_have_no_power() {
    let bench = Bench::new(
        "create table t(x);
         create view endless as with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) c from n;
         create view big as select zeroblob(1000000000) b;
         create trigger g instead of insert on big begin delete from t; end",
    );
    let before = bench.bytes();
    let mut copy = bench.copy();
    assert_eq!(copy.integrity(Integrity::Full), Ok(sound()));
    copy.set_deadline(Duration::from_millis(50));
    assert_eq!(copy.probe("select c from endless").unwrap_err().kind, ReasonKind::Timeout);
    copy.set_deadline(Duration::from_secs(60));
    assert_eq!(copy.probe("select b from big").unwrap_err().kind, ReasonKind::Failed);
    assert_ne!(copy.probe("insert into big values (1)").unwrap_err().kind, ReasonKind::Corrupt);
    assert!(bench.bytes() == before);
}

#[test]
fn virtual_tables_that_sqlite_brings_can_be_asked() {
    let bench = Bench::new(
        "create virtual table f using fts5(x); insert into f values ('one two');
         create virtual table r using rtree(id, a, b); insert into r values (1, 2, 3)",
    );
    let mut copy = bench.copy();
    assert_eq!(copy.probe("select count(*) from f where f match 'two'"), Ok(Answer::Integer(1)));
    assert_eq!(copy.probe("select count(*) from r where a > 1"), Ok(Answer::Integer(1)));
    assert_eq!(bench.copy().integrity(Integrity::Full), Ok(sound()));
}

#[test]
fn a_table_that_is_not_there_is_not_a_mistake_in_the_query() {
    let mut copy = Bench::new(TABLE).copy();
    assert_eq!(copy.probe("select count(*) from orders").unwrap_err().kind, ReasonKind::NotFound);
    assert_eq!(copy.probe("selekt 1").unwrap_err().kind, ReasonKind::Failed);
}

#[test]
fn damage_is_found_and_said() {
    let bench = Bench::new(
        "pragma foreign_keys = 0; create table t(x); create table parent(id integer primary key);
         create table child(p references parent);
         insert into child values (5);
         with recursive n(i) as (select 1 union all select i + 1 from n limit 3000) insert into t select hex(randomblob(40)) from n",
    );
    let (count, first) = bench.copy().foreign_keys().unwrap();
    assert_eq!((count, first.as_deref()), (1, Some("row 1 of child refers to parent")));
    assert_eq!(bench.copy().integrity(Integrity::Quick), Ok(sound()));
    let path = bench.directory.path().join("db ?#%");
    let mut bytes = bench.bytes();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let problems = bench.copy().integrity(Integrity::Quick);
    match problems {
        Ok(Soundness { problems, .. }) => assert!(!problems.is_empty()),
        Err(reason) => assert_eq!(reason.kind, ReasonKind::Corrupt, "{reason}"),
    }
    std::fs::write(&path, [0x55; 8192]).unwrap();
    assert_eq!(bench.copy().schema().unwrap_err().kind, ReasonKind::Corrupt);
}

#[test]
fn rows_that_violate_constraints_are_found_in_both_journal_modes() {
    for (mode, integrity) in [("delete", Integrity::Quick), ("wal", Integrity::Quick), ("wal", Integrity::Full)] {
        let bench = Bench::new(&format!(
            "pragma journal_mode = {mode}; create table t(x check (x > 0), y);
             pragma ignore_check_constraints = 1; insert into t values (-1, null), (1, 1)"
        ));
        let before = bench.bytes();
        let found = bench.copy().integrity(integrity).unwrap();
        assert_eq!(found.constraints, Ok(vec!["CHECK constraint failed in t".to_owned()]), "{mode}");
        assert_eq!(found.problems, Vec::<String>::new(), "{mode}");
        assert!(bench.bytes() == before && bench.files() == 1, "{mode}: nothing was written");
        // A rule that came after the row.
        let bench = Bench::new(&format!(
            "pragma journal_mode = {mode}; create table t(x, y); insert into t values (1, null);
             pragma writable_schema = 1; update sqlite_schema set sql = 'CREATE TABLE t(x, y not null)'"
        ));
        let found = bench.copy().integrity(integrity).unwrap();
        assert_eq!(found.problems, ["NULL value in t.y"], "{mode}");
    }
}

#[test]
fn many_violations_do_not_hide_what_else_is_wrong() {
    let bench = Bench::new(
        "create table t(x check (x > 0)); pragma ignore_check_constraints = 1;
         with recursive n(i) as (select -1 union all select i - 1 from n limit 300) insert into t select i from n;
         create table u(x, y); insert into u values (1, null);
         pragma writable_schema = 1; update sqlite_schema set sql = 'CREATE TABLE u(x, y not null)' where name = 'u'",
    );
    let found = bench.copy().integrity(Integrity::Quick).unwrap();
    assert_eq!(found.problems, ["NULL value in u.y"]);
    assert!(found.constraints.unwrap().len() >= DRILL_PROBLEMS_MAX as usize - 1);
}

#[test]
fn constraints_that_cannot_be_evaluated_are_said_and_have_no_power() {
    if !is_alone() {
        return;
    }
    let schema = |check: &str| {
        format!(
            "create table t(x); insert into t values (1); pragma writable_schema = 1;
             update sqlite_schema set sql = 'CREATE TABLE t(x CHECK ({check}))'"
        )
    };
    for (check, why) in [("its_own(x)", "unknown function"), ("length(hex(zeroblob(400000000))) > x", "memory")] {
        let bench = Bench::new(&schema(check));
        let before = bench.bytes();
        let found = bench.copy().integrity(Integrity::Full).unwrap();
        assert_eq!(found.problems, Vec::<String>::new(), "{check}");
        let said = found.constraints.unwrap_err();
        assert!(said.contains(why), "{check}: {said}");
        assert!(bench.bytes() == before && bench.files() == 1, "{check}");
    }
    // No application can use a schema with one of these.
    let refused = Bench::new(&schema("load_extension(''/x'') is null")).copy().integrity(Integrity::Quick).unwrap_err();
    assert_eq!((refused.kind, refused.message.contains("unsafe use")), (ReasonKind::Corrupt, true), "{refused}");
    // A file that only a later version may write.
    let bench = Bench::new("create table t(x check (x > 0))");
    let mut bytes = bench.bytes();
    bytes[18] = 3;
    std::fs::write(bench.directory.path().join("db ?#%"), bytes).unwrap();
    assert_eq!(bench.copy().integrity(Integrity::Quick).unwrap().constraints, Err(ONLY_READ.to_owned()));
}

#[test]
fn constraints_cannot_keep_it_for_ever() {
    let bench = Bench::new(
        "create table t(x check (x + length(replace(hex(zeroblob(1000)), '00', 'abc')) > 0));
         with recursive n(i) as (select 1 union all select i + 1 from n limit 200000) insert into t select i from n",
    );
    let mut copy = bench.copy();
    copy.set_deadline(Duration::ZERO);
    assert_eq!(copy.integrity(Integrity::Quick).unwrap_err().kind, ReasonKind::Timeout);
    copy.set_deadline(Duration::from_secs(60));
    assert_eq!(copy.probe("select count(*) from t"), Ok(Answer::Integer(200_000)));
}
