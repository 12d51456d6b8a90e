//! `plyfs flatten`: makes an image of fewer layers.

use std::path::Path;

use plyfs::image::Catalog;
use plyfs::image::flatten::{FlattenOptions, flatten};

use super::{import, progress, store};
use crate::cli::flatten::FlattenArgs;

/// Flattens, and prints the new image's ID.
///
/// # Errors
/// There is no such image, or it is not built on the base; the store is as before then.
pub fn run(args: &FlattenArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let name = store::new_name(args.name.as_deref())?;
    let store = store::open(root)?;
    let writer = store.lock()?;
    let catalog = Catalog::read(&store)?;
    let options = FlattenOptions {
        name,
        above: args.above.as_deref().map(|name| catalog.find(name)).transpose()?,
        message: args.message.clone(),
        compression: import::compression(args.compression),
        created: store::created()?.time,
    };
    let spinner = progress::spinner("flattening");
    let image = flatten(&writer, catalog.find(&args.image)?, &options)?;
    spinner.finish_and_clear();
    println!("{}", image.id());
    Ok(())
}
