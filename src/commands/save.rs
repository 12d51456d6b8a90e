//! `plyfs save`: writes images to an archive.

use std::path::Path;

use plyfs::image::Catalog;
use plyfs::image::archive::save::{ArchiveFormat, Saved, save};
use plyfs::oci::reference::Reference;

use super::{output, progress, store};
use crate::cli::save::{SaveArgs, SaveFormat};

/// Saves.
///
/// # Errors
/// An image is not there or damaged, or the archive cannot be written; a file is complete or absent.
pub fn run(args: &SaveArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let catalog = Catalog::read(&store)?;
    let mut images: Vec<Saved<'_>> = Vec::new();
    for name in &args.images {
        let of_repository = catalog.of_repository(name);
        let found = match of_repository.is_empty() {
            false => of_repository.into_iter().map(|(image, name)| (image, Some(name.to_owned()))).collect(),
            true => {
                let image = catalog.find(name)?;
                let familiar = name.parse::<Reference>().map(|name| name.with_default_tag().familiar());
                vec![(image, familiar.ok().filter(|name| image.names.contains(name)))]
            }
        };
        for (image, name) in found {
            let digest = image.descriptor.digest;
            match images.iter_mut().find(|saved| saved.image.descriptor.digest == digest) {
                Some(saved) => saved.names.extend(name.filter(|name| !saved.names.contains(name))),
                None => images.push(Saved { image, names: name.into_iter().collect() }),
            }
        }
    }
    let format = match args.format {
        SaveFormat::Both => ArchiveFormat::Both,
        SaveFormat::Docker => ArchiveFormat::Docker,
        SaveFormat::Oci => ArchiveFormat::Oci,
    };
    output::write_to(&args.output, "an archive", |out| {
        let spinner = progress::spinner("saving");
        save(&store, &images, format, out)?;
        spinner.finish_and_clear();
        Ok(())
    })
}
