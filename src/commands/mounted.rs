//! Where containers are mounted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use plyfs::image::Image;
use plyfs::image::unpacked::layer_dirs;
use plyfs::layer::unpack::{Ownership, UnpackOptions};
use plyfs::mount::{Lazy, Options, unmount as unmount_at};
use plyfs::overlay::XattrPermissions;
use plyfs::store::{Container, Store, Writer};
use serde_json::Value;

/// The field of a container's file that holds where it was mounted last.
const MOUNT_POINT: &str = "mount_point";

/// Where the container is mounted; `None` where it is not.
///
/// # Errors
/// The store cannot be read.
pub fn mount_point(store: &Store, container: &Container) -> anyhow::Result<Option<PathBuf>> {
    if !store.is_mounted(&container.id)? {
        return Ok(None);
    }
    let recorded = container.extra.get(MOUNT_POINT).and_then(Value::as_str).map(PathBuf::from);
    Ok(Some(recorded.unwrap_or_else(|| store.container_paths(&container.id).merged)))
}

/// Makes `options` those of a container's mount at `target`, and remembers that place with the container.
///
/// # Errors
/// A layer is missing or damaged, or the store cannot be written.
pub fn set_up(
    options: &mut Options,
    writer: &Writer<'_>,
    image: &Image,
    container: &mut Container,
    target: &Path,
) -> anyhow::Result<()> {
    remember(writer, container, target)?;
    let paths = writer.store().container_paths(&container.id);
    let overlay = &mut options.overlay;
    overlay.lowers = layer_dirs(writer, image, &UnpackOptions::default())?;
    (overlay.upper, overlay.work) = (Some(paths.upper), Some(paths.work));
    overlay.metacopy = true;
    if Ownership::for_this_process() == Ownership::Recorded {
        overlay.xattr_permissions = XattrPermissions::User;
        options.be_root_of_the_mount()?;
    }
    options.source.get_or_insert_with(|| OsString::from(format!("plyfs:{}", container.name)));
    Ok(())
}

/// Remembers where the container is about to be mounted.
fn remember(writer: &Writer<'_>, container: &mut Container, target: &Path) -> anyhow::Result<()> {
    let path = target.to_str().with_context(|| format!("{} is no UTF-8", target.display()))?;
    container.extra.insert(MOUNT_POINT.to_owned(), path.into());
    Ok(writer.update_container(container)?)
}

/// Unmounts the container, wherever it is mounted.
///
/// # Errors
/// It is not mounted, in use, or mounted in another mount namespace.
pub fn unmount(store: &Store, container: &Container, lazy: Lazy) -> anyhow::Result<()> {
    let Some(path) = mount_point(store, container)? else {
        bail!("container {} is not mounted", container.name);
    };
    unmount_at(&path, lazy).with_context(|| format!("cannot unmount container {}", container.name))
}
