//! `plyfs save`: what was typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs save -o debian.tar debian:12
  plyfs save debian:12 app:latest | podman load
  plyfs save --format oci -o debian.tar debian:12";

/// Write images to an archive that docker, podman, skopeo and umoci read
#[derive(Debug, Clone, Args)]
pub struct SaveArgs {
    /// The images; a repository's name without a tag saves all its tags
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Where to write the archive; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// What the archive is
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: SaveFormat,
}

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SaveFormat {
    /// Docker's archive and an OCI image layout at once
    #[default]
    Both,
    /// Docker's archive alone
    Docker,
    /// An OCI image layout alone
    Oci,
}
