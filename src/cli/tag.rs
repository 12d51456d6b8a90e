//! `plyfs tag` and `plyfs untag`: what was typed.

use clap::Args;

/// Shown below the help of `tag`.
pub const EXAMPLES: &str = "\
Examples:
  plyfs tag debian:12 registry.example.org/base:1
  plyfs tag 3f2a91 debian:latest debian:stable";
/// Shown below the help of `untag`.
pub const UNTAG_EXAMPLES: &str = "\
Examples:
  plyfs untag debian:stable       the image itself stays";

/// Give an image more names
#[derive(Debug, Clone, Args)]
pub struct TagArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// The names
    #[arg(value_name = "NAME[:TAG]", required = true)]
    pub names: Vec<String>,
}

/// Take names away from images
#[derive(Debug, Clone, Args)]
pub struct UntagArgs {
    /// The names
    #[arg(value_name = "NAME[:TAG]", required = true)]
    pub names: Vec<String>,
}
