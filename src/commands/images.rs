//! `plyfs images`: lists images, each name in a row of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use plyfs::image::filter::ImageFilter;
use plyfs::image::history::layer_sizes;
use plyfs::image::time::{self, Timestamp};
use plyfs::image::{Catalog, Image};
use plyfs::oci::config::ImageConfig;
use plyfs::oci::reference::Reference;
use plyfs::store::Store;
use serde_json::{Value, json};

use super::human::Length;
use super::listing::{self, Column};
use super::{human, store};
use crate::cli::images::ImagesArgs;

/// What stands for a name that an image has not.
pub const NONE: &str = "<none>";

const COLUMNS: &[Column] = &[
    Column { title: "REPOSITORY", field: "Repository" },
    Column { title: "TAG", field: "Tag" },
    Column { title: "DIGEST", field: "Digest" },
    Column { title: "IMAGE ID", field: "ID" },
    Column { title: "CREATED", field: "CreatedSince" },
    Column { title: "SIZE", field: "Size" },
];

/// Prints the images that pass the filters, the newest first.
///
/// # Errors
/// A filter makes no sense, the template is wrong, or the store cannot be read.
pub fn run(args: &ImagesArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let catalog = Catalog::read(&store)?;
    let filter = ImageFilter::parse(&store, &catalog, &args.filters, args.name.as_deref())?;
    let mut containers: BTreeMap<_, usize> = BTreeMap::new();
    for container in store.containers()? {
        *containers.entry(container.image.manifest.digest).or_default() += 1;
    }
    let length = if args.no_trunc { Length::Full } else { Length::Short };
    let mut rows = Vec::new();
    for image in &catalog.images {
        let known = known(&store, image);
        if !filter.passes(image, &known.config) {
            continue;
        }
        let uses = containers.get(&image.descriptor.digest).copied().unwrap_or(0);
        for name in names(image).into_iter().filter(|name| filter.shows(image, *name)) {
            let made = known.config.created.as_deref().and_then(|text| time::parse(text).ok());
            rows.push((made, row(image, name, &known, uses, length)));
        }
    }
    rows.sort_by_cached_key(|(made, row)| {
        (Reverse(made.unwrap_or(Timestamp::MIN)), row["Repository"].to_string(), row["Tag"].to_string())
    });
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    if args.quiet && args.format.is_none() {
        return Ok(print_ids(&rows)?);
    }
    let digests = |column: &&Column| args.digests || column.field != "Digest";
    let columns: Vec<Column> = COLUMNS.iter().filter(digests).copied().collect();
    listing::print(&rows, &columns, args.format.as_deref())
}

/// Each ID once.
fn print_ids(rows: &[Value]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut seen = BTreeSet::new();
    for id in rows.iter().filter_map(|row| row["ID"].as_str()) {
        if seen.insert(id) {
            writeln!(out, "{id}")?;
        }
    }
    out.flush()
}

/// The names that an image is listed under.
fn names(image: &Image) -> Vec<Option<&str>> {
    if image.names.is_empty() {
        return vec![None];
    }
    image.names.iter().map(|name| Some(name.as_str())).collect()
}

/// What the store knows of an image.
struct Known {
    config: ImageConfig,
    size: u64,
}

/// An image that is damaged is listed, too: it can be removed then.
fn known(store: &Store, image: &Image) -> Known {
    let read = || {
        let config = image.config(store)?;
        let size = layer_sizes(store, image, &config)?.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
        Ok(Known { config, size })
    };
    read().unwrap_or_else(|e: plyfs::image::ImageError| {
        log::warn!("image {}: {e}", image.label());
        let size = image.manifest.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        Known { config: ImageConfig::default(), size }
    })
}

/// Repository and tag as docker shows them. What is no reference is shown as it is.
pub fn split_name(name: Option<&str>) -> (String, String) {
    let none = || NONE.to_owned();
    let Some(name) = name else { return (none(), none()) };
    match name.parse::<Reference>() {
        Ok(reference) => (reference.familiar_repository(), reference.tag().map_or_else(none, str::to_owned)),
        Err(_) => (name.to_owned(), none()),
    }
}

fn row(image: &Image, name: Option<&str>, known: &Known, uses: usize, length: Length) -> Value {
    let (repository, tag) = split_name(name);
    let created = known.config.created.clone().unwrap_or_default();
    json!({
        "Repository": repository,
        "Tag": tag,
        "Digest": image.descriptor.digest,
        "ID": human::id(&image.id().to_string(), length),
        "Created": created,
        "CreatedAt": human::date(&created),
        "CreatedSince": human::ago(&created),
        "Size": human::size(known.size),
        "SizeBytes": known.size,
        "VirtualSize": human::size(known.size),
        "SharedSize": human::UNKNOWN,
        "UniqueSize": human::UNKNOWN,
        "Containers": uses,
        "Names": image.names,
        "Labels": known.config.config.labels,
    })
}
