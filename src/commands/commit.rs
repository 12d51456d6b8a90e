//! `plyfs commit`: makes an image of what was changed in a container.

use std::path::Path;

use anyhow::Context;
use plyfs::image::commit::{Clamp, CommitOptions, commit};
use plyfs::layer::pack::IfWritten;
use plyfs::mount::Pause;

use super::{import, mounted, progress, store, tree};
use crate::cli::commit::CommitArgs;

/// Commits, and prints the image's ID. Changes to a mounted container wait meanwhile, unless that is not wanted.
///
/// # Errors
/// There is no such container, a change makes no sense, or the store cannot be written; it is as before then.
pub fn run(args: &CommitArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let created = store::created()?;
    let mut options = CommitOptions {
        name: store::new_name(args.name.as_deref())?,
        author: args.author.clone(),
        message: args.message.clone(),
        changes: store::changes(&args.changes)?,
        compression: import::compression(args.compression),
        created: created.time,
        clamp: if created.set { Clamp::Later } else { Clamp::Nothing },
        if_written: IfWritten::GoOn,
    };
    let store = store::open(root)?;
    let container = store.find_container(&args.container)?;
    tree::refuse_sandbox(&container)?;
    let writer = store.lock()?;
    let pause = match args.no_pause {
        true => mounted::settle(&store, &container).map(|_| None)?,
        false => mounted::pause(&store, &container)?,
    };
    if pause.is_some() {
        options.if_written = IfWritten::Fail;
    }
    let spinner = progress::spinner("committing");
    let image = commit(&writer, &container, &options)
        .with_context(|| format!("cannot commit container {}", container.name))?;
    spinner.finish_and_clear();
    if let Some(Err(e)) = pause.map(Pause::end) {
        eprintln!("plyfs: {e}; changes made meanwhile may be in the image in part");
    }
    println!("{}", image.id());
    Ok(())
}
