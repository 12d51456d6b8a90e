//! `plyfs unmount`: what was typed.

use std::ffi::OsString;

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs unmount /mnt
  plyfs unmount web              a container, wherever it is mounted
  plyfs unmount --lazy /mnt      even while programs use it";

/// Take a mount away
#[derive(Debug, Clone, Args)]
pub struct UnmountArgs {
    /// Detach the mount although it is in use; it ends when its last user lets go
    #[arg(long)]
    pub lazy: bool,
    /// The mount point, or the container
    #[arg(value_name = "DIR|CONTAINER")]
    pub target: OsString,
}
