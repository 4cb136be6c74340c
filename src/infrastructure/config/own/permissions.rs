//! `file-mode` and `owner`: who may read and write the files of a database.

use std::path::Path;

use crate::domain::limits::CONFIG_BYTES_MAX;
use crate::domain::target::{Owner, Permissions};

use crate::infrastructure::config::read_text;
use crate::infrastructure::config::value::section::Section;

/// Where users have their numbers.
const USERS: &str = "/etc/passwd";

/// What is written; what is not is decided elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    modes: Option<Vec<u32>>,
    owner: Option<Owner>,
}

impl Keys {
    /// With what is absent taken from `defaults`.
    pub(crate) fn or(self, defaults: &Permissions) -> Permissions {
        Permissions {
            configured: self.modes.is_some() || defaults.configured,
            modes: self.modes.unwrap_or_else(|| defaults.modes.clone()),
            owner: self.owner.or_else(|| defaults.owner.clone()),
        }
    }
}

pub(crate) fn read(section: &mut Section<'_>) -> Keys {
    const ACCEPTED: &str = "permission bits in octal such as \"0600\", one or several";
    let mut modes = Vec::new();
    let texts = section.texts("file-mode", ACCEPTED);
    for scalar in texts.iter().flatten() {
        match mode(scalar.text) {
            Some(mode) => modes.push(mode),
            None => section.problem(scalar.place.problem("not permission bits").value(scalar.text).accepted(ACCEPTED)),
        }
    }
    let owner = section.parsed("owner", "the name of a user, or a number", |text| owner(text, Path::new(USERS)));
    Keys { modes: texts.map(|_| modes).filter(|modes| !modes.is_empty()), owner }
}

/// Three octal digits, perhaps with one or a zero in front.
fn mode(text: &str) -> Option<u32> {
    if !matches!(text.len(), 3 | 4) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    u32::from_str_radix(text, 8).ok()
}

fn owner(text: &str, users: &Path) -> Result<Owner, String> {
    if let Ok(uid) = text.parse() {
        return Ok(Owner { name: format!("uid {uid}"), uid });
    }
    let users_here =
        read_text(users, CONFIG_BYTES_MAX).map_err(|error| format!("read {}: {error}", users.display()))?;
    // passwd(5): name, password, number, …
    let uid_of = |line: &str| {
        let mut fields = line.split(':');
        if fields.next() == Some(text) { fields.nth(1)?.parse().ok() } else { None }
    };
    match users_here.lines().find_map(uid_of) {
        Some(uid) => Ok(Owner { name: text.to_owned(), uid }),
        None => Err(format!("no such user in {}", users.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(["600", "0600", "0640", "1777"].map(mode), [Some(0o600), Some(0o600), Some(0o640), Some(0o1777)]);
        assert_eq!(["", "6", "0o600", "0680", "-600", "00600"].map(mode), [None; 6]);
    }

    #[test]
    fn a_user_has_a_number() {
        let users = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(users.path(), "root:x:0:0:root:/root:/bin/sh\napp:x:977:977::/srv:/sbin/nologin\nbad:x\n")
            .unwrap();
        let of = |text| owner(text, users.path()).map(|owner| (owner.name, owner.uid));
        assert_eq!(of("app"), Ok(("app".to_owned(), 977)));
        assert_eq!(of("977"), Ok(("uid 977".to_owned(), 977)));
        for nobody in ["ap", "bad", ""] {
            assert_eq!(of(nobody), Err(format!("no such user in {}", users.path().display())), "{nobody}");
        }
        assert_eq!(owner("app", Path::new("/nowhere")).unwrap_err(), "read /nowhere: no such file or directory");
    }
}
