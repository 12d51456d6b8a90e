//! `plyfs layer …`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Shown below the help.
pub const PACK_EXAMPLES: &str = "\
Examples:
  plyfs layer pack --upper /data/upper --lower /app --lower /base -o layer.tar
  plyfs layer pack --upper /data/upper -o - | zstd >layer.tar.zst";

/// Work on layers as directories and as tar archives.
#[derive(Debug, Clone, Args)]
pub struct LayerArgs {
    /// What to do
    #[command(subcommand)]
    pub command: LayerCommand,
}

/// The verbs of `plyfs layer`.
#[derive(Debug, Clone, Subcommand)]
pub enum LayerCommand {
    /// Write an upper directory as an OCI layer (an uncompressed tar) and print its diff ID
    #[command(after_help = PACK_EXAMPLES)]
    Pack(LayerPackArgs),
}

/// The arguments of `plyfs layer pack`.
#[derive(Debug, Clone, Args)]
pub struct LayerPackArgs {
    /// The writable layer of the union
    #[arg(long, value_name = "DIR")]
    pub upper: PathBuf,
    /// A read-only layer below it; give it several times, the top layer first. Needed for renamed
    /// directories and metadata-only copies, whose content lies there
    #[arg(long = "lower", value_name = "DIR")]
    pub lowers: Vec<PathBuf>,
    /// The work directory of the union; its index tells the other names of changed hard links
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Where to write the tar; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}
