//! Values as people write them, and the reader that takes them out of a tree.

pub(crate) mod duration;
pub(crate) mod label;
pub(crate) mod paths;
pub(crate) mod section;
pub(crate) mod size;
pub(crate) mod times;
pub(crate) mod url;
pub(crate) mod yaml;
