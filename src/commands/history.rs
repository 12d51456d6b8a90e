//! `plyfs history`: the steps by which an image came about.

use std::path::Path;

use plyfs::image::Catalog;
use plyfs::image::history::{Step, history};
use serde_json::{Value, json};

use super::human::Length;
use super::listing::{self, Column};
use super::{human, store};
use crate::cli::history::HistoryArgs;

/// What stands for the ID of an image that is not here, as with docker.
const MISSING: &str = "<missing>";
/// How much of a command is shown.
const COMMAND_WIDTH: usize = 45;

const COLUMNS: &[Column] = &[
    Column { title: "IMAGE", field: "ID" },
    Column { title: "CREATED", field: "CreatedSince" },
    Column { title: "CREATED BY", field: "CreatedBy" },
    Column { title: "SIZE", field: "Size" },
    Column { title: "COMMENT", field: "Comment" },
];

/// Prints them, the newest first.
///
/// # Errors
/// There is no such image, it is damaged, or the template is wrong.
pub fn run(args: &HistoryArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let catalog = Catalog::read(&store)?;
    let image = catalog.find(&args.image)?;
    let length = if args.no_trunc { Length::Full } else { Length::Short };
    let steps = history(&store, &catalog, image)?;
    let rows: Vec<Value> = steps.iter().map(|step| row(step, length)).collect();
    let format = match args.format.as_deref() {
        None if args.quiet => Some("{{.ID}}"),
        format => format,
    };
    listing::print(&rows, COLUMNS, format)
}

fn row(step: &Step, length: Length) -> Value {
    let created = step.history.created.clone().unwrap_or_default();
    // A tab would make two columns of a template's one.
    let command = step.history.created_by.clone().unwrap_or_default().replace('\t', " ");
    let id = step.image.map(|id| human::id(&id.to_string(), length));
    json!({
        "ID": id.as_deref().unwrap_or(MISSING),
        "CreatedAt": created,
        "CreatedSince": human::ago(&created),
        "CreatedBy": match length {
            Length::Full => command,
            Length::Short => human::shorten(&command, COMMAND_WIDTH),
        },
        "Size": human::size(step.size),
        "SizeBytes": step.size,
        "Comment": step.history.comment.clone().unwrap_or_default(),
        "Tags": step.names,
        "EmptyLayer": step.history.empty_layer,
    })
}
