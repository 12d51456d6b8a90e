//! `plyfs stop`: ends containers.

use std::path::Path;
use std::time::Duration;

use plyfs::run::Instance;

use super::{running, store};
use crate::cli::stop::StopArgs;

/// Stops them, and prints what they were called by.
///
/// # Errors
/// One is not there, or cannot be ended; those before it have ended then.
pub fn run(args: &StopArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    for name in &args.containers {
        let instance = Instance::new(&store, store.find_container(name)?);
        running::inside(&instance, || Ok(instance.stop(Duration::from_secs(args.time.into()))?))?;
        println!("{name}");
    }
    Ok(())
}
