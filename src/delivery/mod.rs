//! The faces: command line, HTTP, renderings of the report, and the demo.

pub mod asked;
pub mod cli;
pub mod demo;
pub mod http;
#[cfg(test)]
mod outputs;
pub mod render;
