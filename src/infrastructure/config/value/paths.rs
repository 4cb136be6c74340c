//! Paths: the home directory, the working directory, and the prefix map of agents that see the files elsewhere.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::domain::limits::CONFIG_BYTES_MAX;
use crate::domain::reason::Reason;

use crate::infrastructure::config::source::text::read_text;
use crate::infrastructure::config::value::url::clean;
use crate::infrastructure::files::Stamp;

/// A rule of `litestream.path-map`: what Litestream calls `from` is found under `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMapping {
    pub from: PathBuf,
    pub to: PathBuf,
}

/// Replaces the longest matching prefix, whole components at a time; a path that nothing matches stays.
pub(crate) fn map_path(map: &[PathMapping], path: &Path) -> PathBuf {
    map.iter()
        .filter_map(|rule| path.strip_prefix(&rule.from).ok().map(|rest| (rule, rest)))
        .max_by_key(|(rule, _)| rule.from.components().count())
        .map_or_else(
            || path.to_owned(),
            |(rule, rest)| if rest == Path::new("") { rule.to.clone() } else { rule.to.join(rest) },
        )
}

/// Where users have their numbers and homes.
pub(crate) const USERS: &str = "/etc/passwd";

/// The directory that Litestream takes for `~`: the home of this process's user, and `HOME` only where that has none.
pub fn home() -> Option<PathBuf> {
    let users = read_text(Path::new(USERS), CONFIG_BYTES_MAX).unwrap_or_default();
    home_of(rustix::process::getuid().as_raw(), &users).or_else(std::env::home_dir)
}

/// passwd(5): name, password, number, group, comment, home, shell.
fn home_of(uid: u32, users: &str) -> Option<PathBuf> {
    let fields = |line: &'_ str| {
        let mut fields = line.split(':').skip(2);
        let own = fields.next()?.parse() == Ok(uid);
        let home = fields.nth(2)?;
        (own && home.starts_with('/')).then(|| PathBuf::from(home))
    };
    users.lines().find_map(fields)
}

/// `<directory>/.<file>-litestream`.
pub(crate) fn default_meta_path(path: &Path) -> PathBuf {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{file}-litestream"))
}

/// Without the prefix that Litestream takes off.
fn without_scheme(text: &str) -> &str {
    text.strip_prefix("sqlite3://").or_else(|| text.strip_prefix("sqlite://")).unwrap_or(text)
}

/// Whether a path is taken from the working directory of whoever reads it.
pub(crate) fn is_relative(text: &str) -> bool {
    let text = without_scheme(text);
    !text.is_empty() && !text.starts_with('/') && text != "~" && !text.starts_with("~/")
}

/// Where relative paths and `~` lead, and what was found there.
pub(crate) struct Base {
    pub(crate) working_directory: PathBuf,
    pub(crate) home: Option<PathBuf>,
    /// The files of which something was made.
    files: RefCell<Vec<Stamp>>,
    /// It was made of more than them.
    more: Cell<bool>,
}

impl Base {
    pub(crate) fn new(working_directory: PathBuf, home: Option<PathBuf>) -> Self {
        Self { working_directory, home, files: RefCell::default(), more: Cell::default() }
    }

    /// Takes note of a file before it is read, or asked for.
    pub(crate) fn depends_on(&self, file: &Path) {
        self.files.borrow_mut().push(Stamp::of(file));
    }

    /// Takes note of something that can change without any of the files.
    pub(crate) fn depends_on_more(&self) {
        self.more.set(true);
    }

    /// Whether what was made depends on more than files.
    pub(crate) fn has_more(&self) -> bool {
        self.more.get()
    }

    /// The files as they were when they were read.
    pub(crate) fn into_files(self) -> Vec<Stamp> {
        self.files.into_inner()
    }

    /// The absolute, cleaned path that Litestream makes of `text`. A home directory that is not known is an error.
    pub(crate) fn absolute(&self, text: &str) -> Result<PathBuf, &'static str> {
        let below_home = if text == "~" { Some("") } else { text.strip_prefix("~/") };
        let path = match (below_home, &self.home) {
            (Some(rest), Some(home)) => format!("{}/{rest}", home.display()),
            (Some(_), None) => return Err("no home directory is known"),
            (None, _) if text.starts_with('/') => text.to_owned(),
            (None, _) => format!("{}/{text}", self.working_directory.display()),
        };
        Ok(PathBuf::from(clean(&path)))
    }

    /// As [`Self::absolute`], where nothing switches something off.
    pub(crate) fn unless_empty(&self, text: &str) -> Result<Option<PathBuf>, &'static str> {
        if text.is_empty() { Ok(None) } else { self.absolute(text).map(Some) }
    }

    /// The path of a database, which is not empty.
    pub(crate) fn database(&self, text: &str) -> Result<PathBuf, &'static str> {
        if text.is_empty() { Err("empty") } else { self.litestream(text) }
    }

    /// A file that has to be readable, so that a typing error shows at once.
    pub(crate) fn readable(&self, text: &str) -> Result<PathBuf, String> {
        let path = self.absolute(text)?;
        self.depends_on(&path);
        let file = path.metadata().map_err(|error| Reason::from(error).message)?;
        if !file.is_file() {
            return Err("not a file".to_owned());
        }
        access(&path, Access::READ_OK).map_err(|_| "not readable".to_owned())?;
        Ok(path)
    }

    /// As [`Self::absolute`], after Litestream's `sqlite://` and `sqlite3://` prefixes are taken off.
    pub(crate) fn litestream(&self, text: &str) -> Result<PathBuf, &'static str> {
        self.absolute(without_scheme(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_whole_components_wins() {
        let rule = |from: &str, to: &str| PathMapping { from: from.into(), to: to.into() };
        let map =
            [rule("/data", "/host/data"), rule("/data/hot", "/fast"), rule("/", "/root"), rule("/one.db", "/x/y.db")];
        for (path, expected) in [
            ("/data/a.db", "/host/data/a.db"),
            ("/data", "/host/data"),
            ("/data/hot/a.db", "/fast/a.db"),
            ("/data/hotter/a.db", "/host/data/hotter/a.db"),
            ("/database/a.db", "/root/database/a.db"),
            ("/one.db", "/x/y.db"),
        ] {
            assert_eq!(map_path(&map, Path::new(path)), Path::new(expected), "{path}");
        }
        assert_eq!(map_path(&map[..1], Path::new("/srv/a.db")), Path::new("/srv/a.db"));
    }

    #[test]
    fn paths_become_absolute_as_litestreams() {
        let base = Base::new("/cwd".into(), Some("/home/u".into()));
        for (text, expected) in [
            ("/a//b/../c.db", "/a/c.db"),
            ("a.db", "/cwd/a.db"),
            ("~", "/home/u"),
            ("~/a.db", "/home/u/a.db"),
            ("~other/a.db", "/cwd/~other/a.db"),
            ("sqlite:///srv/a.db", "/srv/a.db"),
            ("sqlite3://a.db", "/cwd/a.db"),
        ] {
            assert_eq!(base.litestream(text).as_deref(), Ok(Path::new(expected)), "{text}");
        }
        for (text, expected) in [("a.db", true), ("sqlite://a.db", true), ("~x", true), ("~/x", false), ("/x", false)] {
            assert_eq!(is_relative(text), expected, "{text}");
        }
        let homeless = Base { home: None, ..base };
        assert_eq!(homeless.absolute("~/a"), Err("no home directory is known"));
    }

    #[test]
    fn a_home_is_that_of_the_user() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbad\nx:x:5\napp:x:977:977::/srv/app:/sbin/nologin\nno:x:8:8:::\n";
        assert_eq!(home_of(977, users), Some("/srv/app".into()));
        assert_eq!(home_of(0, users), Some("/root".into()));
        assert_eq!((home_of(5, users), home_of(8, users), home_of(9, users)), (None, None, None));
    }
}
