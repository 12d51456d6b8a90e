//! The layers of what a person calls by a name: a container, or an image.

use plyfs::image::export::Tree;
use plyfs::image::unpacked::layer_dirs;
use plyfs::image::{Catalog, Image};
use plyfs::layer::unpack::UnpackOptions;
use plyfs::oci::digest::ChainId;
use plyfs::run::sandbox::Sandbox;
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
/// Its manifest is missing or damaged; it is a sandbox, which is made of no image.
pub fn image_of(store: &Store, container: &Container) -> anyhow::Result<Image> {
    refuse_sandbox(container)?;
    let descriptor = container.image.manifest.clone();
    let manifest = store.manifest(&descriptor)?;
    Ok(Image { descriptor, manifest, names: vec![container.image.name.clone()] })
}

/// Fails for a sandbox: what it shows is this machine, and no image.
///
/// # Errors
/// It is one.
pub fn refuse_sandbox(container: &Container) -> anyhow::Result<()> {
    let name = &container.name;
    match Sandbox::of(&container.extra) {
        None => Ok(()),
        Some(_) => anyhow::bail!(
            "{name} is a sandbox of this machine and no container of an image; `plyfs diff {name}` shows its changes, `plyfs sandbox apply {name}` applies them"
        ),
    }
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
