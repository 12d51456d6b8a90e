//! `plyfs export`: writes a tree as one flat tar.

use std::path::Path;

use plyfs::image::export::export;

use super::{output, progress, store, tree};
use crate::cli::export::ExportArgs;

/// Exports.
///
/// # Errors
/// There is no such container or image, or the tar cannot be written; a file is complete or absent.
pub fn run(args: &ExportArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let named = tree::find(&store, &args.name)?;
    let created = store::created()?;
    let tree = tree::shown(&store, &named)?;
    output::write_to(&args.output, "a tar", |out| {
        let spinner = progress::spinner("exporting");
        export(&tree, created.set.then(|| created.time.as_second()), out)?;
        spinner.finish_and_clear();
        Ok(())
    })
}
