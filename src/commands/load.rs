//! `plyfs load`: loads images from an archive.

use std::path::Path;

use anyhow::Context;
use plyfs::image::archive::load::{LoadOptions, Loaded, load, load_directory};

use super::import::{open_input, unpack_options, wanted_platform};
use super::{progress, store};
use crate::cli::load::LoadArgs;

/// Loads, and prints what was loaded.
///
/// # Errors
/// The archive cannot be read or is refused; the store is as before then.
pub fn run(args: &LoadArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let mut options = LoadOptions {
        platform: wanted_platform(args.platform.as_deref())?,
        unpack: unpack_options(&args.limits),
        ..LoadOptions::default()
    };
    // What a layer may have the archive around it may have, too.
    options.limits.entries = options.limits.entries.max(args.limits.max_entries.unwrap_or(0));
    options.limits.bytes = options.limits.bytes.max(args.limits.max_bytes.unwrap_or(0));
    let input = if args.input.is_dir() { None } else { Some(open_input(&args.input)?) };
    let store = store::open(root)?;
    let writer = store.lock()?;
    let loaded = match input {
        None => load_directory(&writer, &args.input, &options),
        Some((input, length)) => load(&writer, progress::reading("loading", length, input), &options),
    };
    for image in loaded.with_context(|| format!("cannot load {}", args.input.display()))? {
        print(&image, args.quiet);
    }
    Ok(())
}

/// As docker tells it.
fn print(image: &Loaded, quiet: bool) {
    match (quiet, image.names.is_empty()) {
        (true, _) => println!("{}", image.id),
        (false, true) => println!("Loaded image ID: {}", image.id),
        (false, false) => image.names.iter().for_each(|name| println!("Loaded image: {name}")),
    }
}
