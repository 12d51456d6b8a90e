//! `plyfs mount`: what was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  A container, at a place of its own or at /mnt; the mount point is printed:
    plyfs mount web
    plyfs mount web /mnt
  An image: a container of it is made:
    plyfs mount debian:12 /mnt
  Directories, read-write, changes go to /data/upper:
    plyfs mount --lower /app --lower /base --upper /data/upper --work /data/work /mnt
  Directories, read-only:
    plyfs mount --lower /app --lower /base /mnt
  With options as fuse-overlayfs takes them:
    plyfs mount -o lowerdir=/app:/base,upperdir=/data/upper,workdir=/data/work,volatile /mnt

plyfs-mount(8) explains every option of -o. The mount goes away with `plyfs unmount /mnt` or umount(8).";

/// Mount a container, an image, or the union of directories
#[derive(Debug, Clone, Args)]
pub struct MountArgs {
    /// A read-only layer; give it several times, the top layer first
    #[arg(long = "lower", value_name = "DIR")]
    pub lowers: Vec<PathBuf>,
    /// The writable layer; without it the mount is read-only
    #[arg(long, value_name = "DIR")]
    pub upper: Option<PathBuf>,
    /// An empty directory on the file system of the upper one
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Mount read-only
    #[arg(long)]
    pub read_only: bool,
    /// Mount options, comma separated; may be given several times
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub options: Vec<OsString>,
    /// Serve in the foreground until the mount is gone
    #[arg(short, long)]
    pub foreground: bool,
    /// The container or image to mount; with --lower or lowerdir=, the directory to mount at
    #[arg(value_name = "CONTAINER|IMAGE|TARGET")]
    pub what: OsString,
    /// The directory to mount the container or image at
    #[arg(value_name = "DIR")]
    pub target: Option<PathBuf>,
}
