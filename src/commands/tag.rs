//! `plyfs tag` and `plyfs untag`: names given to images and taken away.

use std::path::Path;

use anyhow::Context;
use plyfs::image::Catalog;
use plyfs::image::remove::{tag, untag};

use super::store;
use crate::cli::tag::{TagArgs, UntagArgs};

/// Gives names.
///
/// # Errors
/// There is no such image, or a name is none.
pub fn run(args: &TagArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let names: Vec<_> =
        args.names.iter().map(|name| store::new_name(Some(name))).collect::<Result<_, _>>()?;
    let store = store::open(root)?;
    let writer = store.lock()?;
    let catalog = Catalog::read(&store)?;
    let image = catalog.find(&args.image)?;
    for name in names.iter().flatten() {
        tag(&writer, image, name)?;
    }
    Ok(())
}

/// Takes names away.
///
/// # Errors
/// There is no such name; those before it are gone then.
pub fn run_untag(args: &UntagArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let writer = store.lock()?;
    for name in &args.names {
        untag(&writer, name).with_context(|| format!("cannot untag {name}"))?;
    }
    Ok(())
}
