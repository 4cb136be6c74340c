//! The databases of a `dir` entry: files whose name matches and whose first 16 bytes are SQLite's.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::domain::limits::DIRECTORY_DEPTH_MAX;
use crate::domain::reason::Reason;

use crate::infrastructure::config::litestream::glob;

/// SQLite file format, section 1.3.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The contents of a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Paths relative to the directory, with `/`, in order.
    pub(crate) databases: Vec<String>,
    /// Directories that could not be read, names that are not UTF-8, bounds that were reached.
    pub(crate) warnings: Vec<String>,
}

/// Looks for at most `limit` databases. An unreadable `directory` is an error, one below it a warning.
pub(crate) fn scan(directory: &Path, pattern: &str, recursive: bool, limit: usize) -> Result<Scan, String> {
    let mut scan = Scan::default();
    let mut waiting: Vec<(PathBuf, String, usize)> = vec![(directory.to_owned(), String::new(), 0)];
    while let Some((path, relative, depth)) = waiting.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(Reason::from(error).message),
            Err(error) => {
                scan.warnings.push(format!("read {relative}: {}", Reason::from(error).message));
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                scan.warnings.push(format!("{}: the name is not UTF-8", name.display()));
                continue;
            };
            let relative = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            if name.starts_with('.') && name.ends_with("-litestream") {
                // Litestream's metadata: thousands of files, never a database.
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                match (recursive, depth < DIRECTORY_DEPTH_MAX) {
                    (true, true) => waiting.push((entry.path(), relative, depth + 1)),
                    (true, false) => scan.warnings.push(format!("{relative}: nested too deeply")),
                    (false, _) => {}
                }
            } else if glob::matches(pattern, name) == Ok(true) && is_database(&entry.path()) {
                if scan.databases.len() == limit {
                    scan.warnings.push(format!("more than {limit} databases; the rest are not watched"));
                    waiting.clear();
                    break;
                }
                scan.databases.push(relative);
            }
        }
    }
    scan.databases.sort_unstable();
    Ok(scan)
}

fn is_database(path: &Path) -> bool {
    // A pipe would block whoever opens it.
    let opened =
        fs::OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let Ok(mut file) = opened else { return false };
    let mut head = [0; MAGIC.len()];
    file.metadata().is_ok_and(|metadata| metadata.is_file()) && file.read_exact(&mut head).is_ok() && head == *MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_that_are_databases() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).expect("a file");
        fs::create_dir_all(root.join("b/c.db")).expect("directories");
        fs::create_dir(root.join(".a.db-litestream")).expect("a directory");
        write("a.db", b"SQLite format 3\0 and more");
        write("short.db", b"SQLite");
        write("text.db", b"not a database at all");
        write("a.other", b"SQLite format 3\0");
        write("b/z.db", b"SQLite format 3\0");
        write("b/c.db/y.db", b"SQLite format 3\0");
        std::os::unix::fs::symlink(root.join("a.db"), root.join("link.db")).expect("a link");
        std::os::unix::fs::symlink(root.join("b"), root.join("loop")).expect("a link");

        let found = |pattern, recursive| scan(root, pattern, recursive, 100).map(|scan| scan.databases);
        assert_eq!(found("*.db", false), Ok(vec!["a.db".to_owned(), "link.db".to_owned()]));
        let all = ["a.db", "b/c.db/y.db", "b/z.db", "link.db"].map(str::to_owned).to_vec();
        assert_eq!(found("*.db", true), Ok(all));
        assert_eq!(found("*.sqlite", true), Ok(Vec::new()));
        let limited = scan(root, "*.db", true, 2).expect("readable");
        assert_eq!((limited.databases.len(), limited.warnings.len()), (2, 1));
        assert_eq!(scan(&root.join("nothing"), "*", true, 100), Err("no such file or directory".to_owned()));
    }
}
