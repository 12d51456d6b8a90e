//! `plyfs rmi`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs rmi app:1               takes the name; the image goes with its last one
  plyfs rmi --force 3f2a91      removes the image with all its names";

/// Remove images
#[derive(Debug, Clone, Args)]
pub struct RmiArgs {
    /// Names, or IDs
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Although an image has several names
    #[arg(short, long)]
    pub force: bool,
}
