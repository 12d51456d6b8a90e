//! `plyfs rmi`: removes images.

use std::path::Path;

use plyfs::image::remove::{Force, Removed, remove};

use super::store;
use crate::cli::rmi::RmiArgs;

/// Removes them, and prints what went.
///
/// # Errors
/// One is not there or in use; those before it are gone then.
pub fn run(args: &RmiArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let writer = store.lock()?;
    let force = if args.force { Force::Yes } else { Force::No };
    for name in &args.images {
        print(&remove(&writer, name, force)?);
    }
    Ok(())
}

/// As docker tells it.
pub fn print(removed: &Removed) {
    removed.untagged.iter().for_each(|name| println!("Untagged: {name}"));
    removed.deleted.iter().for_each(|id| println!("Deleted: {id}"));
}
