//! What is wanted of databases: `[objectives]` for all, `[[database]]` for one.
//!
//! To add an option that a database can say for itself: a field of [`Objectives`], a line here, and two in the commented
//! `streamgauge.toml`.

use std::path::Path;

use crate::domain::limits::CONFIG_BYTES_MAX;
use crate::domain::target::{Objectives, Owner, Permissions};
use crate::infrastructure::config::own::metrics::profile;
use crate::infrastructure::config::source::text::read_text;
use crate::infrastructure::config::value::paths::USERS;
use crate::infrastructure::config::value::section::Section;

/// Reads what is written; the rest is as in `of`.
pub(crate) fn read(section: &mut Section<'_>, of: Objectives) -> Objectives {
    let restorer = section.parsed("restorer", "a release of Litestream such as 0.5.15", str::parse);
    Objectives {
        rpo: section.duration("rpo").unwrap_or(of.rpo),
        retention: section.duration("retention").or(of.retention),
        snapshot_interval: section.duration("snapshot-interval").or(of.snapshot_interval),
        rto: section.duration("rto").or(of.rto),
        restorer: restorer.or(of.restorer),
        permissions: permissions(section, of.permissions),
        disk_used_percent: section.integer("disk-used-percent", 1..=100).unwrap_or(of.disk_used_percent),
        metrics: profile(section, "metrics").unwrap_or(of.metrics),
    }
}

/// `file-mode` and `owner`: who may read and write the files of a database.
fn permissions(section: &mut Section<'_>, of: Permissions) -> Permissions {
    let modes = section.list("file-mode", "permission bits in octal such as \"0600\", one or several", mode);
    let owner = section.parsed("owner", "the name of a user, or a number", |text| owner(text, Path::new(USERS)));
    let owner = owner.or(of.owner);
    match modes.filter(|modes| !modes.is_empty()) {
        Some(modes) => Permissions { modes, configured: true, owner },
        None => Permissions { owner, ..of },
    }
}

/// Three octal digits, perhaps with one or a zero in front.
fn mode(text: &str) -> Result<u32, &'static str> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|_| digits).ok_or("not permission bits")
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
        assert_eq!(["600", "0600", "0640", "1777"].map(mode), [Ok(0o600), Ok(0o600), Ok(0o640), Ok(0o1777)]);
        assert_eq!(["", "6", "0o600", "0680", "-600", "00600"].map(mode), [Err("not permission bits"); 6]);
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
