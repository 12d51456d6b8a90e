//! Where containers are mounted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use plyfs::image::Image;
use plyfs::image::unpacked::layer_dirs;
use plyfs::layer::unpack::{Ownership, UnpackOptions};
use plyfs::mount::{Lazy, Options, Pause, flush, unmount as unmount_at};
use plyfs::overlay::XattrPermissions;
use plyfs::store::{Container, Store, Writer};
use serde_json::Value;

/// The field of a container's file that holds where it was mounted last.
const MOUNT_POINT: &str = "mount_point";
/// The daemon's control socket, in the container's directory.
const CONTROL: &str = "control.sock";

/// Where the container is mounted; `None` where it is not.
///
/// # Errors
/// The store cannot be read.
pub fn mount_point(store: &Store, container: &Container) -> anyhow::Result<Option<PathBuf>> {
    if !store.is_mounted(&container.id)? {
        return Ok(None);
    }
    Ok(Some(last_mount_point(store, container)))
}

/// Where the container was mounted last: in its own directory unless it says otherwise.
fn last_mount_point(store: &Store, container: &Container) -> PathBuf {
    let recorded = container.extra.get(MOUNT_POINT).and_then(Value::as_str).map(PathBuf::from);
    recorded.unwrap_or_else(|| store.container_paths(&container.id).merged)
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
    options.control = Some(control(writer.store(), container));
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
    if last_mount_point(writer.store(), container) == target {
        return Ok(());
    }
    let path = target.to_str().with_context(|| format!("{} is no UTF-8", target.display()))?;
    container.extra.insert(MOUNT_POINT.to_owned(), path.into());
    Ok(writer.update_container(container)?)
}

/// Where the daemon of a container's mount listens.
pub fn control(store: &Store, container: &Container) -> PathBuf {
    store.container_paths(&container.id).upper.with_file_name(CONTROL)
}

/// Brings what the kernel has in memory of a mounted container to its upper directory: what programs wrote to files
/// that they have mapped. Returns where it is mounted. That it does not work is told and no failure.
///
/// # Errors
/// The store cannot be read.
pub fn settle(store: &Store, container: &Container) -> anyhow::Result<Option<PathBuf>> {
    let place = mount_point(store, container)?;
    if let Some(Err(e)) = place.as_deref().map(flush) {
        eprintln!("plyfs: what programs wrote to files they have mapped may be missing: {e}");
    }
    Ok(place)
}

/// Holds back changes to a container until the pause is dropped or ended. `None` where it is not mounted, and where its
/// daemon cannot be reached, which is told: another program may have mounted it.
///
/// # Errors
/// The store cannot be read, or the upper's file system not be synced.
pub fn pause(store: &Store, container: &Container) -> anyhow::Result<Option<Pause>> {
    if settle(store, container)?.is_none() {
        return Ok(None);
    }
    let upper = store.container_paths(&container.id).upper;
    let sync = || flush(&upper).with_context(|| format!("cannot sync {}", upper.display()));
    // Most of it before, so that the pause is short. Afterwards every page of a file is as on disk, and a later
    // write through a mapping shows by the file's times.
    sync()?;
    let pause = Pause::begin(&control(store, container)).map_err(anyhow::Error::from);
    let pause = pause.inspect_err(|e| {
        let name = &container.name;
        eprintln!(
            "plyfs: {e:#}; container {name} is not paused, changes made meanwhile may be there in part"
        );
    });
    sync()?;
    Ok(pause.ok())
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
