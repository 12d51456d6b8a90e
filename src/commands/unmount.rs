//! `plyfs unmount`: takes a mount away.

use std::path::Path;

use plyfs::mount::{Lazy, unmount};

use super::{mounted, store};
use crate::cli::unmount::UnmountArgs;

/// Unmounts a directory, or a container wherever it is mounted.
///
/// # Errors
/// There is no such mount, it is in use, or the caller may not.
pub fn run(args: &UnmountArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let lazy = if args.lazy { Lazy::Yes } else { Lazy::No };
    let target = Path::new(&args.target);
    let is_name = args.target.to_str().is_some_and(|name| !name.contains('/')) && !target.exists();
    if is_name
        && let Some(name) = args.target.to_str()
        && let Ok(store) = store::open(root)
        && let Ok(container) = store.find_container(name)
    {
        return mounted::unmount(&store, &container, lazy);
    }
    Ok(unmount(target, lazy)?)
}
