//! `plyfs ps`: lists containers.

use std::path::Path;

use plyfs::run::Instance;
use plyfs::run::status::{Record, State};
use plyfs::store::{Container, Store, StoreError};
use serde_json::{Value, json};

use super::human::Length;
use super::listing::{self, Column};
use super::{human, mounted, store};
use crate::cli::ps::PsArgs;

const COLUMNS: &[Column] = &[
    Column { title: "CONTAINER ID", field: "ID" },
    Column { title: "IMAGE", field: "Image" },
    Column { title: "CREATED", field: "RunningFor" },
    Column { title: "STATUS", field: "Status" },
    Column { title: "MOUNT POINT", field: "MountPoint" },
    Column { title: "NAMES", field: "Names" },
    Column { title: "SIZE", field: "Size" },
];

/// Prints those that run or are mounted, or all, the newest first.
///
/// # Errors
/// The template is wrong, or the store cannot be read.
pub fn run(args: &PsArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let length = if args.no_trunc { Length::Full } else { Length::Short };
    // A container's upper is walked only for those who look at its size.
    let asked = |format: &str| format.contains("json") || format.contains("Size");
    let sized = args.size || args.format.as_deref().is_some_and(asked);
    let mut rows = Vec::new();
    for container in store.containers()?.iter().rev() {
        let place = match mounted::mount_point(&store, container) {
            Ok(place) => place.map(|place| place.display().to_string()),
            // Removed since it was listed.
            Err(e) if matches!(e.downcast_ref(), Some(StoreError::NoContainer { .. })) => continue,
            Err(e) => return Err(e),
        };
        let run = Instance::new(&store, container.clone());
        let record = Record::read(&run.dir)?;
        let lives = record.as_ref().is_some_and(|r| matches!(r.state(), State::Running | State::Starting));
        if args.all || place.is_some() || lives {
            let size = if sized { Some(store.upper_size(&container.id)?) } else { None };
            let status = status(record.as_ref(), place.is_some());
            rows.push(row(&store, container, place.as_deref(), status, size, length));
        }
    }
    let format = match args.format.as_deref() {
        None if args.quiet => Some("{{.ID}}"),
        format => format,
    };
    let columns = if args.size { COLUMNS } else { COLUMNS.split_last().map_or(COLUMNS, |(_, rest)| rest) };
    listing::print(&rows, columns, format)
}

/// What a container does, in one word for programs and in words as docker's.
fn status(record: Option<&Record>, mounted: bool) -> (&'static str, String) {
    let since = |time: &Option<String>| human::ago(time.as_deref().unwrap_or_default());
    match record.map(|record| (record, record.state())) {
        None | Some((_, State::Created)) if mounted => ("mounted", "Mounted".to_owned()),
        None | Some((_, State::Created)) => ("created", "Created".to_owned()),
        Some((_, State::Starting)) => ("starting", "Starting".to_owned()),
        Some((record, State::Running)) => {
            ("running", format!("Up {}", since(&record.started).trim_end_matches(" ago")))
        }
        Some((record, State::Exited(Some(code)))) => {
            ("exited", format!("Exited ({code}) {}", since(&record.finished)))
        }
        // Nobody was left to see how it ended.
        Some((_, State::Exited(None))) => ("exited", "Exited".to_owned()),
    }
}

fn row(
    store: &Store,
    container: &Container,
    place: Option<&str>,
    (state, status): (&str, String),
    size: Option<u64>,
    length: Length,
) -> Value {
    let created = &container.created;
    let parts = [container.config.entrypoint.as_deref(), container.config.cmd.as_deref()];
    let command: Vec<&str> = parts.into_iter().flatten().flatten().map(String::as_str).collect();
    let image_id = container.image.id.to_string();
    let image = match container.image.name.as_str() {
        "" => human::id(&image_id, Length::Short),
        name => name.to_owned(),
    };
    json!({
        "ID": human::id(container.id.as_str(), length),
        "Image": image,
        "ImageID": human::id(&image_id, length),
        "Command": command.join(" "),
        "Created": created,
        "CreatedAt": human::date(created),
        "RunningFor": human::ago(created),
        "Status": status,
        "State": state,
        "MountPoint": place.unwrap_or_default(),
        "Names": container.name,
        "Size": size.map(human::size).unwrap_or_default(),
        "SizeBytes": size,
        "Labels": container.config.labels,
        "Upper": store.container_paths(&container.id).upper,
    })
}
