//! The texts that a configuration is written in, and the tree that each of them becomes.

pub(crate) mod expand;
pub(crate) mod layers;
pub(crate) mod node;
pub(crate) mod text;
pub(crate) mod yaml;
