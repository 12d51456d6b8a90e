//! `plyfs export`: what was typed.

use std::path::PathBuf;

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs export -o rootfs.tar web
  plyfs export debian:12 | tar -t | head";

/// Write the tree that a container or an image shows as one flat tar
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// The container, or the image
    #[arg(value_name = "CONTAINER|IMAGE")]
    pub name: String,
    /// Where to write the tar; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}
