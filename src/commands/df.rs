//! `plyfs df`: how much room images and containers take.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use plyfs::image::Catalog;
use plyfs::image::usage::{ContainerRow, ImageUsage, Row, usage};
use plyfs::store::StoreError;
use serde_json::{Value, json};

use super::human::Length;
use super::images::split_name;
use super::listing::{self, Column};
use super::{human, store};
use crate::cli::df::DfArgs;

const SUMMARY: &[Column] = &[
    Column { title: "TYPE", field: "Type" },
    Column { title: "TOTAL", field: "TotalCount" },
    Column { title: "ACTIVE", field: "Active" },
    Column { title: "SIZE", field: "Size" },
    Column { title: "RECLAIMABLE", field: "Reclaimable" },
];

const IMAGES: &[Column] = &[
    Column { title: "REPOSITORY", field: "Repository" },
    Column { title: "TAG", field: "Tag" },
    Column { title: "IMAGE ID", field: "ID" },
    Column { title: "CREATED", field: "CreatedSince" },
    Column { title: "SIZE", field: "Size" },
    Column { title: "SHARED SIZE", field: "SharedSize" },
    Column { title: "UNIQUE SIZE", field: "UniqueSize" },
    Column { title: "CONTAINERS", field: "Containers" },
];

const CONTAINERS: &[Column] = &[
    Column { title: "CONTAINER ID", field: "ID" },
    Column { title: "IMAGE", field: "Image" },
    Column { title: "SIZE", field: "Size" },
    Column { title: "CREATED", field: "RunningFor" },
    Column { title: "STATUS", field: "Status" },
    Column { title: "NAMES", field: "Names" },
];

/// Prints one row for images and one for containers, or each of them.
///
/// # Errors
/// The template is wrong, or the store cannot be read.
pub fn run(args: &DfArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let catalog = Catalog::read(&store)?;
    let mut places = BTreeMap::new();
    for container in store.containers()? {
        match store.is_mounted(&container.id) {
            // Removed since it was listed.
            Err(StoreError::NoContainer { .. }) => {}
            mounted => drop(places.insert(container.id, mounted?)),
        }
    }
    let is_mounted = |id: &_| places.get(id).copied().unwrap_or(false);
    let status = |id: &_| if is_mounted(id) { "Mounted" } else { "Created" };
    let usage = usage(&store, &catalog, is_mounted)?;
    if !args.verbose {
        let rows = [summary("Images", &usage.images), summary("Containers", &usage.containers)];
        return listing::print(&rows, SUMMARY, args.format.as_deref());
    }
    let images: Vec<Value> = usage.each_image.iter().map(image_row).collect();
    let containers: Vec<Value> =
        usage.each_container.iter().map(|row| container_row(row, status(&row.id))).collect();
    match args.format.as_deref() {
        None | Some("table") => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            writeln!(out, "Images space usage:\n")?;
            listing::write_table(&mut out, &images, IMAGES)?;
            writeln!(out, "\nContainers space usage:\n")?;
            listing::write_table(&mut out, &containers, CONTAINERS)?;
            Ok(out.flush()?)
        }
        format => listing::print_one(&json!({ "Images": images, "Containers": containers }), format),
    }
}

fn summary(kind: &str, row: &Row) -> Value {
    json!({
        "Type": kind,
        "TotalCount": row.total,
        "Active": row.active,
        "Size": human::size(row.size),
        "SizeBytes": row.size,
        "Reclaimable": human::share(row.reclaimable, row.size),
        "ReclaimableBytes": row.reclaimable,
    })
}

fn image_row(usage: &ImageUsage) -> Value {
    let (repository, tag) = split_name(usage.image.names.first().map(String::as_str));
    let created = usage.created.clone().unwrap_or_default();
    let unique = usage.size.saturating_sub(usage.shared);
    json!({
        "Repository": repository,
        "Tag": tag,
        "ID": human::id(&usage.image.id().to_string(), Length::Short),
        "Names": usage.image.names,
        "Created": created,
        "CreatedSince": human::ago(&created),
        "Size": human::size(usage.size),
        "SizeBytes": usage.size,
        "SharedSize": human::size(usage.shared),
        "SharedSizeBytes": usage.shared,
        "UniqueSize": human::size(unique),
        "UniqueSizeBytes": unique,
        "Containers": usage.containers,
    })
}

fn container_row(row: &ContainerRow, status: &str) -> Value {
    json!({
        "ID": human::id(row.id.as_str(), Length::Short),
        "Image": row.image,
        "Size": human::size(row.size),
        "SizeBytes": row.size,
        "Created": row.created,
        "RunningFor": human::ago(&row.created),
        "Status": status,
        "Names": row.name,
    })
}
