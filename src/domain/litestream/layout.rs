//! Where Litestream puts its files below a replica's root.

use serde::{Serialize, Serializer};

use super::LEVELS;
use super::generations::ROOT;
use super::ltx::LtxName;

/// How the keys of LTX files (v0.5) name their level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LevelKeys {
    /// `ltx/0/<name>`: directories, SFTP, WebDAV, NATS, Google and Azure storage.
    #[default]
    Plain,
    /// `0000/<name>`: S3 and OSS.
    Hex,
}

impl LevelKeys {
    /// The prefix of the keys of a level, `/` included.
    pub fn prefix(self, level: u8) -> String {
        format!("{}{}/", Layout::V5(self).root(), self.folder(level))
    }

    /// What a level is called below the root of its layout.
    pub fn folder(self, level: u8) -> String {
        match self {
            Self::Plain => level.to_string(),
            Self::Hex => format!("{level:04x}"),
        }
    }

    /// The key of a file below the replica's root.
    pub fn key(self, level: u8, name: LtxName) -> String {
        format!("{}{name}", self.prefix(level))
    }

    /// The level and name of a key; `None` for what is not an LTX file, which Litestream ignores as well.
    pub fn parse_key(self, key: &str) -> Option<(u8, LtxName)> {
        let (folder, name) = key.rsplit_once('/')?;
        let level = match self {
            Self::Plain => folder.strip_prefix("ltx/").and_then(|level| digit(level, 1)),
            Self::Hex => digit(folder, 4),
        }?;
        Some((level, name.parse().ok()?))
    }
}

/// A level, written with exactly `width` digits. Levels end at 9, so that hexadecimal and decimal are the same.
fn digit(text: &str, width: usize) -> Option<u8> {
    let (zeros, last) = text.as_bytes().split_at_checked(width - 1)?;
    match last {
        [digit @ b'0'..=b'9'] if zeros.iter().all(|b| *b == b'0') => Some(digit - b'0'),
        _ => None,
    }
}

/// The layout found in a replica's root. A report has the release of Litestream that writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Generations of snapshots and WAL segments.
    V3,
    /// Levels of LTX files.
    V5(LevelKeys),
}

impl Layout {
    /// What all its keys start with, as far as it is the same: empty, or ending in `/`.
    pub fn root(self) -> &'static str {
        match self {
            Self::V3 => ROOT,
            Self::V5(LevelKeys::Plain) => "ltx/",
            Self::V5(LevelKeys::Hex) => "",
        }
    }

    /// How keys of this layout name levels.
    pub fn keys(self) -> LevelKeys {
        match self {
            Self::V5(keys) => keys,
            Self::V3 => LevelKeys::Plain,
        }
    }

    /// The release of Litestream that writes it: `v0.3` or `v0.5`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "v0.3",
            Self::V5(_) => "v0.5",
        }
    }

    /// The layouts that the folders directly below a root speak of, newest first. After an upgrade from v0.3 both are
    /// there: v0.5 starts at TXID 1 beside the old generations.
    pub fn recognise(folders: &[String]) -> Vec<Self> {
        let has = |wanted: &str| folders.iter().any(|folder| folder == wanted);
        let hex = (0..LEVELS as u8).any(|level| has(LevelKeys::Hex.prefix(level).trim_end_matches('/')));
        let found = [
            (Self::V5(LevelKeys::Plain), has("ltx")),
            (Self::V5(LevelKeys::Hex), hex),
            (Self::V3, has(ROOT.trim_end_matches('/'))),
        ];
        found.into_iter().filter_map(|(layout, there)| there.then_some(layout)).collect()
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0000000000000001-0000000000000002.ltx";

    #[test]
    fn keys_name_the_level_in_two_ways() {
        let name = NAME.parse().unwrap();
        assert_eq!(LevelKeys::Plain.key(9, name), format!("ltx/9/{NAME}"));
        assert_eq!(LevelKeys::Hex.key(9, name), format!("0009/{NAME}"));
        for keys in [LevelKeys::Plain, LevelKeys::Hex] {
            for level in 0..LEVELS as u8 {
                assert_eq!(keys.parse_key(&keys.key(level, name)), Some((level, name)));
            }
        }
    }

    #[test]
    fn other_keys_are_not_ltx_files() {
        for folder in ["ltx/10", "ltx/00", "ltx/", "ltx", "x/ltx/0", "ltx/\u{e9}", "0000", ""] {
            assert_eq!(LevelKeys::Plain.parse_key(&format!("{folder}/{NAME}")), None, "{folder}");
        }
        for folder in ["000a", "0010", "000", "00000", "x/0000", "ltx/0", "00\u{e9}"] {
            assert_eq!(LevelKeys::Hex.parse_key(&format!("{folder}/{NAME}")), None, "{folder}");
        }
        assert_eq!(LevelKeys::Plain.parse_key("ltx/0/lock.json"), None);
        assert_eq!(LevelKeys::Plain.parse_key(NAME), None);
    }

    #[test]
    fn recognises_layouts_by_their_folders() {
        let layouts = |folders: &[&str]| {
            let folders: Vec<String> = folders.iter().map(|f| (*f).to_owned()).collect();
            Layout::recognise(&folders)
        };
        assert_eq!(layouts(&["ltx"]), [Layout::V5(LevelKeys::Plain)]);
        assert_eq!(layouts(&["0000", "0001", "0009"]), [Layout::V5(LevelKeys::Hex)]);
        assert_eq!(layouts(&["0009"]), [Layout::V5(LevelKeys::Hex)]);
        assert_eq!(layouts(&["generations"]), [Layout::V3]);
        assert_eq!(layouts(&["0000", "generations"]), [Layout::V5(LevelKeys::Hex), Layout::V3]);
        assert_eq!(layouts(&["000a", "beacon"]), []);
    }
}
