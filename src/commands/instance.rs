//! A new container of an image to run something in: how it is made, and how it is cleared away.

use std::path::Path;

use plyfs::image::Catalog;
use plyfs::mount::Options;
use plyfs::run::Instance;
use plyfs::run::command::{self, Asked};
use plyfs::run::settings::{Afterwards, Settings};
use plyfs::store::Container;

use super::{mounted, running, store};

/// A container to be made.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The image, as the person called it.
    pub image: &'a str,
    /// Its name; one is made up where there is none.
    pub name: Option<String>,
    /// What it runs.
    pub asked: Asked,
    /// How.
    pub settings: Settings,
}

/// Makes the container, and the options of its mount. Nothing of the store is held open afterwards.
///
/// # Errors
/// There is no such image or nothing to run, the name is taken, the store cannot be written.
pub fn make(wanted: Wanted<'_>, root: Option<&Path>) -> anyhow::Result<(Instance, Options)> {
    let Wanted { image, name, asked, settings } = wanted;
    let store = store::open(root)?;
    let writer = store.lock()?;
    let found = Catalog::read(&store)?.find(image)?.clone();
    let mut container: Container = store::new_container_with(&writer, &found, image, name, |new| {
        new.config = command::merge(&new.config, &asked);
        command::arguments(&new.config)?;
        settings.keep(&mut new.extra);
        Ok(())
    })?;
    let mut options = Options::default();
    let target = store.container_paths(&container.id).merged;
    mounted::set_up(&mut options, &writer, &found, &mut container, &target)?;
    options.finish()?;
    Ok((Instance::new(&store, container), options))
}

/// Clears away what the container left, and the container itself if it is not to be kept.
pub fn finish(instance: &Instance, root: Option<&Path>) {
    running::finish(instance, root);
    discard(instance, root);
}

/// Removes the container if it is not to be kept.
pub fn discard(instance: &Instance, root: Option<&Path>) {
    if instance.settings.afterwards != Afterwards::Remove {
        return;
    }
    let removed =
        store::open(root).and_then(|store| Ok(store.lock()?.remove_container(&instance.container)?));
    if let Err(e) = removed {
        eprintln!("plyfs: warning: {e:#}");
    }
}
