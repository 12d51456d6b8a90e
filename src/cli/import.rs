//! `plyfs import`: what was typed.

use std::path::PathBuf;

use clap::Args;

use super::Compression;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs import rootfs.tar.zst debian:12
  debootstrap --variant=minbase bookworm /tmp/root && tar -C /tmp/root -c . | plyfs import - debian:12
  plyfs import -c 'CMD [\"/bin/bash\"]' -c 'ENV LANG=C.UTF-8' -m 'from debootstrap' rootfs.tar debian:12";

/// Make an image of a root file system's tar
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The tar, plain or compressed with gzip, zstd, bzip2 or xz; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Change the configuration by a Dockerfile instruction; may be given several times
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub changes: Vec<String>,
    /// The comment in the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// What the programs in it run on, as linux/arm64; by default this machine's
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// How the layer is kept; by default as it came, or gzip
    #[arg(long, value_enum, value_name = "FORM")]
    pub compression: Option<Compression>,
    /// How much the tar may hold
    #[command(flatten)]
    pub limits: super::Limits,
}
