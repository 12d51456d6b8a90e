//! The store that a command works on, and how it is told what cannot be done.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use plyfs::image::catalog::Image;
use plyfs::image::change::{self, Change};
use plyfs::image::time::{self, Timestamp};
use plyfs::image::unpacked::{dress_upper, layer_dirs};
use plyfs::layer::unpack::UnpackOptions;
use plyfs::oci::reference::Reference;
use plyfs::store::{Container, ContainerImage, NewContainer, Store, Writer};

/// The variable that sets the time of what is made (reproducible-builds.org).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Opens the store at `root`, or this user's.
///
/// # Errors
/// There is none and it cannot be made.
pub fn open(root: Option<&Path>) -> anyhow::Result<Store> {
    Ok(Store::open(&self::root(root)?)?)
}

/// Where the store at `root` is, or this user's.
///
/// # Errors
/// Nothing says where.
pub fn root(root: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(root.map_or_else(Store::default_root, |root| Ok(root.to_owned()))?)
}

/// The time of what is made now.
#[derive(Debug, Clone, Copy)]
pub struct Created {
    /// The time.
    pub time: Timestamp,
    /// Whether it was set from outside, so that nothing may be later.
    pub set: bool,
}

/// The present, or what `SOURCE_DATE_EPOCH` says.
///
/// # Errors
/// The variable is no number of seconds.
pub fn created() -> anyhow::Result<Created> {
    let value = std::env::var_os(SOURCE_DATE_EPOCH).filter(|value| !value.is_empty());
    let text = value.as_deref().map(OsStr::to_string_lossy);
    let time = time::created(text.as_deref()).with_context(|| format!("bad {SOURCE_DATE_EPOCH}"))?;
    Ok(Created { time, set: text.is_some() })
}

/// The name of an image to be made.
///
/// # Errors
/// It is no name; one with a digest is none that can be given.
pub fn new_name(name: Option<&str>) -> anyhow::Result<Option<Reference>> {
    let Some(name) = name else { return Ok(None) };
    let reference: Reference = name.parse().with_context(|| format!("{name:?} is no name for an image"))?;
    if reference.digest().is_some() {
        anyhow::bail!("{name:?} has a digest, which an image cannot be given; use a tag");
    }
    Ok(Some(reference))
}

/// The changes of `-c`.
///
/// # Errors
/// The first that is no instruction.
pub fn changes(texts: &[String]) -> anyhow::Result<Vec<Change>> {
    Ok(change::parse_all(texts)?)
}

/// Makes a container of `image`, which the person called `called`; the image's layers are unpacked where they were not.
///
/// # Errors
/// The name is taken or bad, or the store cannot be written.
pub fn new_container(
    writer: &Writer<'_>,
    image: &Image,
    called: &str,
    name: Option<String>,
) -> anyhow::Result<Container> {
    new_container_with(writer, image, called, name, |_| Ok(()))
}

/// As [`new_container`], with what `change` makes of the configuration and of what else is kept with the container.
///
/// # Errors
/// As [`new_container`], and those of `change`.
pub fn new_container_with(
    writer: &Writer<'_>,
    image: &Image,
    called: &str,
    name: Option<String>,
    change: impl FnOnce(&mut NewContainer) -> anyhow::Result<()>,
) -> anyhow::Result<Container> {
    let config = image.config(writer.store())?;
    let mut new = NewContainer {
        name,
        image: ContainerImage { manifest: image.descriptor.clone(), id: image.id(), name: called.to_owned() },
        created: time::format(Timestamp::now()),
        config: config.config,
        extra: serde_json::Map::new(),
    };
    change(&mut new)?;
    let options = UnpackOptions::default();
    let layers = layer_dirs(writer, image, &options)?;
    let container = writer.create_container(new)?;
    dress_upper(&writer.store().container_paths(&container.id).upper, &layers, &options)?;
    Ok(container)
}
