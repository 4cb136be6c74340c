//! Where drills restore when nobody says: not where everybody may make files, if there is another place.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The last resort, in the system's temporary directory.
const IN_TEMPORARY: &str = "streamgauge-drill";

/// The first place that can be used: what systemd made for this service, the user's cache, the temporary directory.
pub(crate) fn default_scratch(environment: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let named = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd names several, separated by colons.
    let first = |path: PathBuf| Some(PathBuf::from(path.to_str()?.split(':').next()?));
    let of_service = ["CACHE_DIRECTORY", "STATE_DIRECTORY"].into_iter().filter_map(|name| named(name).and_then(first));
    let caches = [named("XDG_CACHE_HOME"), named("HOME").map(|home| home.join(".cache"))];
    let of_user = caches.into_iter().flatten().map(|cache| cache.join("streamgauge"));
    let places = of_service.chain(of_user).map(|place| place.join("drill"));
    places.filter(|place| place.is_absolute()).find(|place| is_usable(place)).unwrap_or_else(|| {
        let temporary = named("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
        temporary.join(IN_TEMPORARY)
    })
}

/// Whether a directory can be made there, and not by everybody.
fn is_usable(path: &Path) -> bool {
    let Some((there, meta)) = path.ancestors().find_map(|above| Some((above, above.metadata().ok()?))) else {
        return false;
    };
    meta.is_dir() && meta.mode() & 0o002 == 0 && access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_temporary_directory_comes_last() {
        let root = tempfile::tempdir().unwrap();
        let of = |variables: &[(&str, &Path)]| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, path)| (*path).into());
            default_scratch(find)
        };
        let (cache, home, shared) = (root.path().join("cache"), root.path().join("home"), root.path().join("shared"));
        [&cache, &home, &shared].into_iter().for_each(|path| create_dir(path).unwrap());
        let everybody = |path: &Path| set_permissions(path, Permissions::from_mode(0o1777)).unwrap();
        everybody(&shared);
        let both = PathBuf::from(format!("{}:/elsewhere", cache.display()));
        let all = [("CACHE_DIRECTORY", both.as_path()), ("HOME", &home), ("TMPDIR", &shared)];
        assert_eq!(of(&all), cache.join("drill"));
        assert_eq!(of(&[("STATE_DIRECTORY", &cache), ("HOME", &home)]), cache.join("drill"));
        assert_eq!(of(&all[1..]), home.join(".cache/streamgauge/drill"));
        assert_eq!(of(&[("XDG_CACHE_HOME", &cache), ("HOME", &home)]), cache.join("streamgauge/drill"));
        everybody(&cache);
        assert_eq!(of(&all), home.join(".cache/streamgauge/drill"));
        everybody(&home);
        assert_eq!(of(&all), shared.join("streamgauge-drill"));
        assert_eq!(of(&[]), Path::new("/tmp/streamgauge-drill"));
    }
}
