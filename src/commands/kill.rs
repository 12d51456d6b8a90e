//! `plyfs kill`: sends signals to containers.

use std::path::Path;

use plyfs::run::Instance;

use super::{running, store};
use crate::cli::kill::KillArgs;

/// Sends the signal, and prints what the containers were called by.
///
/// # Errors
/// One is not there or does not run, or there is no such signal.
pub fn run(args: &KillArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    for name in &args.containers {
        let instance = Instance::new(&store, store.find_container(name)?);
        running::inside(&instance, || Ok(instance.kill(&args.signal)?))?;
        println!("{name}");
    }
    Ok(())
}
