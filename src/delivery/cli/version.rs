//! Which build this is.

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision of this build, from `STREAMGAUGE_REVISION` in the environment of the compiler.
pub const REVISION: &str = match option_env!("STREAMGAUGE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
