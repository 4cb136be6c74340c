//! What pages load besides themselves: under a name that says what is inside, so that it may be kept for ever.

use std::sync::LazyLock;

use crate::delivery::asked::Problem;

/// A file that pages load.
#[derive(Debug)]
pub struct Asset {
    /// Its name without the hash, and its ending.
    name: (&'static str, &'static str),
    pub content_type: &'static str,
    pub content: &'static str,
}

/// How pages look.
pub static STYLE: Asset = Asset {
    name: ("style", "css"),
    content_type: "text/css; charset=utf-8",
    content: include_str!("assets/style.css"),
};

/// How pages that are open follow the newest report.
pub static SCRIPT: Asset = Asset {
    name: ("script", "js"),
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("assets/script.js"),
};

/// All of them.
pub static ASSETS: &[&Asset] = &[&STYLE, &SCRIPT];

/// The names of all of them, in the same order.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let named = |asset: &&Asset| {
        let (name, ending) = asset.name;
        let hash = twox_hash::XxHash32::oneshot(0, asset.content.as_bytes());
        format!("{name}-{hash:08x}.{ending}")
    };
    ASSETS.iter().map(named).collect()
});

impl Asset {
    /// Where it is served.
    pub fn path(&self) -> String {
        let named = ASSETS.iter().zip(&*NAMES).find(|(asset, _)| asset.name == self.name);
        format!("/static/{}", named.map_or("", |(_, name)| name))
    }
}

/// The file of this name.
///
/// # Errors
///
/// When there is none: a page of another version is open.
pub fn asset(name: &str) -> Result<&'static Asset, Problem> {
    let named = ASSETS.iter().zip(&*NAMES).find(|(_, known)| *known == name);
    named.map(|(asset, _)| *asset).ok_or_else(|| Problem::not_found("file", name))
}
