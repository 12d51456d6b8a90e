//! `plyfs rm`: removes containers.

use std::path::Path;

use plyfs::store::{Container, Store};

use super::running::{self, Force};
use super::{mounted, store};
use crate::cli::rm::RmArgs;

/// Removes them, and prints their names.
///
/// # Errors
/// One is not there, or is mounted; those before it are gone then.
pub fn run(args: &RmArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let containers = match args.all {
        true => store.containers()?,
        false => args.containers.iter().map(|name| store.find_container(name)).collect::<Result<_, _>>()?,
    };
    for container in containers {
        remove(&store, &container, args)?;
        println!("{}", container.name);
    }
    Ok(())
}

fn remove(store: &Store, container: &Container, args: &RmArgs) -> anyhow::Result<()> {
    running::settle(store, container, if args.force { Force::Yes } else { Force::No })?;
    if args.force && store.is_mounted(&container.id)? {
        mounted::unmount(store, container, plyfs::mount::Lazy::Yes)?;
    }
    Ok(store.lock()?.remove_container(container)?)
}
