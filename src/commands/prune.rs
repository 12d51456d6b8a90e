//! `plyfs prune`: removes images that nothing uses.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::bail;
use plyfs::image::Catalog;
use plyfs::image::remove::{PruneFilter, plan_prune, prune};
use plyfs::image::time::{self, Timestamp};

use super::rmi::print;
use super::{human, store};
use crate::cli::prune::PruneArgs;

/// Removes them, and prints what went and how much room that gave.
///
/// # Errors
/// A filter is not known, or the store cannot be written.
pub fn run(args: &PruneArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let filter = filter(args)?;
    let store = store::open(root)?;
    let writer = store.lock()?;
    let catalog = Catalog::read(&store)?;
    let images = plan_prune(&writer, &catalog, &filter)?;
    if args.dry_run {
        images.iter().for_each(|image| println!("would remove: {} {}", image.label(), image.id()));
        let mut index = catalog.index.clone();
        index.manifests.retain(|entry| images.iter().all(|image| image.descriptor.digest != entry.digest));
        println!("would free: {}", human::size(store.garbage(&index)?.bytes));
        return Ok(());
    }
    if !args.force && !images.is_empty() && !agreed(args.all)? {
        return Ok(());
    }
    let removed = prune(&writer, &images)?;
    print(&removed);
    println!("Total reclaimed space: {}", human::size(removed.freed.bytes));
    Ok(())
}

/// Asks, on a terminal only.
fn agreed(all: bool) -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let what = if all { "that no container uses" } else { "without a name that no container uses" };
    print!("Remove all images {what}? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The filters of `--filter`.
fn filter(args: &PruneArgs) -> anyhow::Result<PruneFilter> {
    let mut filter = PruneFilter { all: args.all, ..PruneFilter::default() };
    for text in &args.filters {
        match text.split_once('=') {
            Some(("until", value)) => filter.until = Some(time::parse_until(value, Timestamp::now())?),
            Some(("label", value)) => filter.labels.push(match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            }),
            _ => bail!("unknown filter {text:?}; known are until=TIME and label=NAME[=VALUE]"),
        }
    }
    Ok(filter)
}
