//! `plyfs create`: makes a container.

use std::path::Path;

use plyfs::image::Catalog;

use super::store;
use crate::cli::create::CreateArgs;

/// Makes it, and prints its ID.
///
/// # Errors
/// There is no such image, or the name is taken.
pub fn run(args: &CreateArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let writer = store.lock()?;
    let catalog = Catalog::read(&store)?;
    let image = catalog.find(&args.image)?;
    let container = store::new_container(&writer, image, &args.image, args.name.clone())?;
    println!("{}", container.id);
    Ok(())
}
