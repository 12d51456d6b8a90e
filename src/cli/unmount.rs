//! `plyfs unmount`: what was typed.

use std::path::PathBuf;

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs unmount /mnt
  plyfs unmount --lazy /mnt      even while programs use it";

/// Take a mount away
#[derive(Debug, Clone, Args)]
pub struct UnmountArgs {
    /// Detach the mount although it is in use; it ends when its last user lets go
    #[arg(long)]
    pub lazy: bool,
    /// The mount point
    #[arg(value_name = "DIR")]
    pub target: PathBuf,
}
