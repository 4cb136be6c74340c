//! Whether the files of a database are for those who should read and write them, and for nobody else.

use serde::Serialize;

use crate::domain::observation::{FileMode, FileRole};
use crate::domain::target::Permissions;

/// Permissions and owner of one file, and what is wrong with them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModeReport {
    #[serde(flatten)]
    pub found: FileMode,
    /// How permissions or owner are not what is expected; `None` when they are.
    pub problem: Option<String>,
    /// The problem is only what others may do, and others cannot reach the file.
    pub harmless: bool,
}

impl ModeReport {
    /// Nothing is wrong with it that anybody could make use of.
    pub fn is_acceptable(&self) -> bool {
        self.problem.is_none() || self.harmless
    }
}

/// The permission bits of others, who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// Others may read what the directory holds, or put files there.
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;

/// The problem with the mode or owner of one of the files, in words; `None` when there is none.
///
/// `all` are the files of the same database. Without a configured owner the files still have to have one owner: a `-wal`
/// that root made while it looked keeps the application out.
pub fn problem(file: &FileMode, all: &[FileMode], wanted: &Permissions) -> Option<String> {
    let (mode, role) = (file.mode, file.file);
    if role == FileRole::Directory {
        // Whoever wants files that all may read wants a directory that all may read.
        let readable = wanted.modes.iter().any(|mode| mode & OTHERS_READ != 0);
        if mode & OTHERS_WRITE != 0 {
            return Some(format!("mode {mode:04o}: everyone may create files there"));
        }
        if mode & OTHERS_READ != 0 && !readable {
            return Some(format!("mode {mode:04o}: everyone may list it"));
        }
    } else if !wanted.modes.contains(&mode) {
        let accepted: Vec<String> = wanted.modes.iter().map(|mode| format!("{mode:04o}")).collect();
        return Some(format!("mode {mode:04o}, expected {}", accepted.join(" or ")));
    }
    match &wanted.owner {
        Some(owner) if owner.uid != file.uid => Some(format!("owned by uid {}, expected {}", file.uid, owner.name)),
        Some(_) => None,
        None => {
            let database = all.iter().find(|other| other.file == FileRole::Database)?;
            let differs = role != FileRole::Directory && database.uid != file.uid;
            differs.then(|| format!("owned by uid {}, the database by uid {}", file.uid, database.uid))
        }
    }
}

/// Whether that is wrong in nothing but what others may do, and they can do nothing with it: `reachable` says whether they
/// can enter every directory above the file; a directory may be listed whose files are closed to them. What is configured
/// holds all the same.
pub fn is_harmless(file: &FileMode, all: &[FileMode], wanted: &Permissions, reachable: Option<bool>) -> bool {
    let is_directory = |file: &FileMode| file.file == FileRole::Directory;
    let open = |file: &FileMode| file.mode & (OTHERS_READ | OTHERS_WRITE) != 0;
    let names_only = || {
        is_directory(file)
            && file.mode & OTHERS_WRITE == 0
            && !all.iter().any(|other| !is_directory(other) && open(other))
    };
    let without_others = FileMode { mode: file.mode & !OTHERS, ..file.clone() };
    let useless = reachable == Some(false) || names_only();
    useless && !wanted.configured && problem(&without_others, all, wanted).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::Owner;

    /// Checks the problems of files with these modes and owners, in the order database, `-wal`, `-shm`, directory.
    fn check(files: [(u32, u32); 4], wanted: &Permissions, expected: &[&str]) {
        let roles = [FileRole::Database, FileRole::Wal, FileRole::Shm, FileRole::Directory];
        let files: Vec<FileMode> =
            roles.into_iter().zip(files).map(|(file, (mode, uid))| FileMode { file, mode, uid, gid: 0 }).collect();
        let problems = files.iter().filter_map(|file| Some((file.file, problem(file, &files, wanted)?)));
        let problems: Vec<String> = problems.map(|(file, problem)| format!("{}: {problem}", file.as_str())).collect();
        assert_eq!(problems, expected);
    }

    #[test]
    fn private_files_pass() {
        let wanted = Permissions::default();
        check([(0o600, 7), (0o600, 7), (0o600, 7), (0o700, 7)], &wanted, &[]);
        check([(0o640, 7), (0o640, 7), (0o640, 7), (0o750, 0)], &wanted, &[]);
        check([(0o600, 7), (0o600, 7), (0o600, 7), (0o711, 0)], &wanted, &[]);
    }

    #[test]
    fn what_everyone_may_read_or_write_does_not() {
        let expected = ["database: mode 0644, expected 0600 or 0640", "directory: mode 0755: everyone may list it"];
        check([(0o644, 7), (0o600, 7), (0o600, 7), (0o755, 7)], &Permissions::default(), &expected);
        let expected = ["directory: mode 1777: everyone may create files there"];
        check([(0o600, 7), (0o600, 7), (0o600, 7), (0o1777, 0)], &Permissions::default(), &expected);
    }

    #[test]
    fn what_others_may_do_where_they_cannot_come_is_harmless() {
        let harmless = |role, mode, uid, wanted: &Permissions, reachable| {
            let file = |file, mode, uid| FileMode { file, mode, uid, gid: 0 };
            let all = [file(FileRole::Database, 0o644, 7), file(role, mode, uid)];
            is_harmless(&all[1], &all, wanted, reachable)
        };
        let (usual, closed) = (Permissions::default(), Some(false));
        for (role, mode) in [(FileRole::Wal, 0o644), (FileRole::Wal, 0o604), (FileRole::Directory, 0o755)] {
            assert!(harmless(role, mode, 7, &usual, closed), "{mode:o}");
            assert!(!harmless(role, mode, 7, &usual, Some(true)), "{mode:o}");
            assert!(!harmless(role, mode, 7, &usual, None), "{mode:o}: unknown is no excuse");
        }
        assert!(!harmless(FileRole::Wal, 0o664, 7, &usual, closed), "the group may write");
        let listed = |file_mode, mode| {
            let file = |file, mode| FileMode { file, mode, uid: 7, gid: 0 };
            let all = [file(FileRole::Database, file_mode), file(FileRole::Directory, mode)];
            is_harmless(&all[1], &all, &usual, Some(true))
        };
        assert!(listed(0o600, 0o755), "its files are closed");
        assert!(!listed(0o644, 0o755), "a file in it is not");
        assert!(!listed(0o600, 0o757), "others may put files there");
        assert!(!harmless(FileRole::Wal, 0o644, 0, &usual, closed), "it has another owner");
        let asked = Permissions { configured: true, ..Permissions::default() };
        assert!(!harmless(FileRole::Wal, 0o644, 7, &asked, closed), "another mode is asked for");
    }

    #[test]
    fn files_have_one_owner_even_where_none_is_configured() {
        let expected = ["wal: owned by uid 0, the database by uid 7"];
        check([(0o600, 7), (0o600, 0), (0o600, 7), (0o700, 0)], &Permissions::default(), &expected);
    }

    #[test]
    fn what_is_configured_is_what_is_expected() {
        let owner = Some(Owner { name: "app".into(), uid: 7 });
        let wanted = Permissions { modes: vec![0o644], configured: true, owner };
        check([(0o644, 7), (0o644, 7), (0o644, 7), (0o755, 7)], &wanted, &[]);
        let expected = ["database: mode 0600, expected 0644", "directory: owned by uid 0, expected app"];
        check([(0o600, 7), (0o644, 7), (0o644, 7), (0o755, 0)], &wanted, &expected);
    }
}
