//! `plyfs inspect`: all that is known of images and containers.

use std::path::Path;
use std::process::ExitCode;

use plyfs::image::Catalog;
use plyfs::image::inspect::{inspect_container, inspect_image};
use plyfs::store::Store;
use serde_json::Value;

use super::tree::{self, Named};
use super::{listing, mounted, running, store};
use crate::cli::inspect::InspectArgs;

/// Prints one JSON array, or each through a template. What is not there is told after the others, and fails.
///
/// # Errors
/// The template is wrong, or the store cannot be read.
pub fn run(args: &InspectArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let store = store::open(root)?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match inspect(&store, name) {
            Ok(value) => found.push(value),
            Err(e) => errors.push(e),
        }
    }
    let format = args.format.as_deref().unwrap_or("json");
    listing::print(&found, &[], Some(format))?;
    for error in &errors {
        eprintln!("plyfs: error: {error:#}");
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn inspect(store: &Store, name: &str) -> anyhow::Result<Value> {
    match tree::find(store, name)? {
        Named::Image(image) => Ok(inspect_image(store, &Catalog::read(store)?, &image)?),
        Named::Container(container) => {
            let place = mounted::mount_point(store, &container)?.map(|place| place.display().to_string());
            let mut value = inspect_container(store, &container, place.as_deref());
            if let Some(state) = running::inspect(store, &container)? {
                value["State"] = state;
            }
            Ok(value)
        }
    }
}
