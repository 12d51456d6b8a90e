//! `plyfs import`: makes an image of a root file system's tar.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};
use plyfs::image::import::{ImportOptions, import};
use plyfs::image::platform;
use plyfs::layer::unpack::UnpackOptions;
use plyfs::oci::descriptor::Platform;
use plyfs::oci::media_type::Compression;

use super::{progress, store};
use crate::cli;
use crate::cli::import::ImportArgs;

/// Imports, and prints the image's ID.
///
/// # Errors
/// The tar cannot be read or is refused; the store is as before then.
pub fn run(args: &ImportArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let options = ImportOptions {
        name: store::new_name(args.name.as_deref())?,
        changes: store::changes(&args.changes)?,
        message: args.message.clone(),
        platform: wanted_platform(args.platform.as_deref())?,
        created: store::created()?.time,
        source: args.file.display().to_string(),
        compression: args.compression.map(compression),
        unpack: unpack_options(&args.limits),
    };
    let (input, length) = open_input(&args.file)?;
    let store = store::open(root)?;
    let writer = store.lock()?;
    let input = progress::reading("importing", length, input);
    let image =
        import(&writer, input, &options).with_context(|| format!("cannot import {}", args.file.display()))?;
    println!("{}", image.id());
    Ok(())
}

/// A file, or standard input, and its length where that is known.
///
/// # Errors
/// The file cannot be opened, or standard input is a terminal.
pub fn open_input(path: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if path == OsStr::new("-") {
        if io::stdin().is_terminal() {
            bail!("nothing is sent to standard input; name a file, or send a tar through a pipe");
        }
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let metadata = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), length))
}

/// The platform that was named, or this machine's.
///
/// # Errors
/// It is none.
pub fn wanted_platform(text: Option<&str>) -> anyhow::Result<Platform> {
    Ok(text.map(platform::parse).transpose()?.unwrap_or_else(platform::host))
}

/// How far a tar is trusted.
pub fn unpack_options(limits: &cli::Limits) -> UnpackOptions {
    let mut options = UnpackOptions::default();
    options.limits.entries = limits.max_entries.unwrap_or(options.limits.entries);
    if let Some(bytes) = limits.max_bytes {
        (options.limits.total_bytes, options.limits.file_bytes) = (bytes, bytes);
    }
    options
}

/// A compression as the library knows it.
pub fn compression(typed: cli::Compression) -> Compression {
    match typed {
        cli::Compression::None => Compression::None,
        cli::Compression::Gzip => Compression::Gzip,
        cli::Compression::Zstd => Compression::Zstd,
    }
}
