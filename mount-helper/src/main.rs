//! `plyfs-mount`, installed also as `mount.fuse.plyfs` and `mount.fuse3.plyfs`: mounts a union as
//! fuse-overlayfs and mount(8) helpers are asked to.

use std::process::ExitCode;

fn main() -> ExitCode {
    plyfs::mount::helper::main(std::env::args_os())
}
