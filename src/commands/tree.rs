//! The layers of what a person calls by a name: a container, or an image.

use plyfs::image::export::Tree;
use plyfs::image::unpacked::layer_dirs;
use plyfs::image::{Catalog, Image};
use plyfs::layer::unpack::UnpackOptions;
use plyfs::oci::digest::ChainId;
use plyfs::store::{Container, Store};

/// A container or an image.
#[derive(Debug)]
pub enum Named {
    /// A container.
    Container(Container),
    /// An image.
    Image(Image),
}

/// What is called `name`: a container, if there is one, or else an image.
///
/// # Errors
/// There is neither.
pub fn find(store: &Store, name: &str) -> anyhow::Result<Named> {
    if let Ok(container) = store.find_container(name) {
        return Ok(Named::Container(container));
    }
    match Catalog::read(store)?.find(name) {
        Ok(image) => Ok(Named::Image(image.clone())),
        Err(plyfs::image::ImageError::NoImage { .. }) => anyhow::bail!(
            "no container and no image is called {name:?}; `plyfs ps -a` and `plyfs images` list those that are there"
        ),
        Err(e) => Err(e.into()),
    }
}

/// The image that a container was made of, whatever it is called now.
///
/// # Errors
/// Its manifest is missing or damaged.
pub fn image_of(store: &Store, container: &Container) -> anyhow::Result<Image> {
    let descriptor = container.image.manifest.clone();
    let manifest = store.manifest(&descriptor)?;
    Ok(Image { descriptor, manifest, names: vec![container.image.name.clone()] })
}

/// The layers that a container or an image shows. No lock is taken unless one of them has to be unpacked first.
///
/// # Errors
/// A layer is missing or damaged.
pub fn shown(store: &Store, named: &Named) -> anyhow::Result<Tree> {
    let image = match named {
        Named::Image(image) => image.clone(),
        Named::Container(container) => image_of(store, container)?,
    };
    let chains = ChainId::of_layers(&image.config(store)?.rootfs.diff_ids);
    let unpacked: Option<Vec<_>> = chains.iter().rev().map(|chain| store.diff_dir(*chain)).collect();
    let mut layers = match unpacked {
        Some(layers) => layers,
        None => layer_dirs(&store.lock()?, &image, &UnpackOptions::default())?,
    };
    let Named::Container(container) = named else { return Ok(Tree { layers, work: None }) };
    let paths = store.container_paths(&container.id);
    layers.insert(0, paths.upper);
    Ok(Tree { layers, work: Some(paths.work) })
}
