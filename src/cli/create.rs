//! `plyfs create`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs create debian:12 --name web
  plyfs mount \"$(plyfs create debian:12)\" /mnt";

/// Make a container: a writable layer on an image
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// The container's name; one is made up where none is given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}
