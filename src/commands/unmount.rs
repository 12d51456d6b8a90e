//! `plyfs unmount`: takes a mount away.

use plyfs::mount::{Lazy, UnmountError, unmount};

use crate::cli::unmount::UnmountArgs;

/// Unmounts.
///
/// # Errors
/// There is no such mount, it is in use, or the caller may not.
pub fn run(args: &UnmountArgs) -> Result<(), UnmountError> {
    unmount(&args.target, if args.lazy { Lazy::Yes } else { Lazy::No })
}
