//! `plyfs load`: what was typed.

use std::path::PathBuf;

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs load -i image.tar
  podman save debian:12 | plyfs load
  plyfs load -i oci-layout-directory";

/// Load images from an archive of docker, podman, skopeo or umoci
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The archive, or the directory of an OCI image layout; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// Which of an image's platforms to take, as linux/arm64; by default this machine's
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Print nothing but the images' IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// How much a layer may hold
    #[command(flatten)]
    pub limits: super::Limits,
}
