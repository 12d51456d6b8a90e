//! `plyfs flatten`: what was typed.

use clap::Args;

use super::Compression;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs flatten app:1 app:flat
  plyfs flatten --above debian:12 app:1 app:small      keeps the layers of debian:12";

/// Make an image of one layer of an image of several
#[derive(Debug, Clone, Args)]
pub struct FlattenArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// The new image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Squash only what lies above this image's layers
    #[arg(long, value_name = "IMAGE")]
    pub above: Option<String>,
    /// The comment in the new image's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// How the layer is compressed
    #[arg(long, value_enum, default_value_t = Compression::Gzip, value_name = "FORM")]
    pub compression: Compression,
}
