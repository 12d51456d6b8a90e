//! `plyfs layers`: what each layer of an image adds, changes, deletes and wastes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use plyfs::image::Catalog;
use plyfs::image::layer_view::{Layer, LayerView, layer_view};
use plyfs::layer::diff::Change;
use serde_json::{Value, json};

use super::human::Length;
use super::listing::{self, Column};
use super::tree::{self, Named};
use super::{human, progress, store};
use crate::cli::layers::LayersArgs;

/// How much of a command is shown.
const COMMAND_WIDTH: usize = 45;

const LAYERS: &[Column] = &[
    Column { title: "LAYER", field: "Layer" },
    Column { title: "ADDED", field: "Added" },
    Column { title: "BYTES", field: "AddedSize" },
    Column { title: "CHANGED", field: "Changed" },
    Column { title: "BYTES", field: "ChangedSize" },
    Column { title: "DELETED", field: "Deleted" },
    Column { title: "WASTED", field: "Wasted" },
    Column { title: "DIFF ID", field: "ShortDiffId" },
    Column { title: "CREATED BY", field: "ShortCreatedBy" },
];

const WASTED: &[Column] = &[
    Column { title: "LAYERS", field: "Layers" },
    Column { title: "WASTED", field: "Wasted" },
    Column { title: "PATH", field: "Path" },
];

/// Prints the layers, the bottom one first, and how much of all their bytes shows.
///
/// # Errors
/// There is no such image, a layer is missing or damaged, or the template is wrong.
pub fn run(args: &LayersArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let image = Catalog::read(&store)?.find(&args.image)?.clone();
    let spinner = progress::spinner("comparing layers");
    let tree = tree::shown(&store, &Named::Image(image.clone()))?;
    let view = layer_view(&store, &image, &tree.layers)?;
    spinner.finish_and_clear();
    match (args.format.as_deref(), args.wasted) {
        (format, true) => listing::print(&wasted_rows(&view), WASTED, format),
        (None | Some("table"), false) => {
            let mut out = BufWriter::new(io::stdout().lock());
            match args.files {
                true => write_files(&mut out, &view)?,
                false => listing::write_table(&mut out, &rows(&view), LAYERS)?,
            }
            write_total(&mut out, &view)?;
            Ok(out.flush()?)
        }
        (Some("json"), false) => listing::print_one(&document(&view, args), None),
        (format, false) => listing::print(&rows_for(&view, args), LAYERS, format),
    }
}

fn rows(view: &LayerView) -> Vec<Value> {
    view.layers.iter().zip(1..).map(|(layer, number)| row(layer, number)).collect()
}

/// The rows, with their files if these were asked for.
fn rows_for(view: &LayerView, args: &LayersArgs) -> Vec<Value> {
    let mut rows = rows(view);
    if args.files {
        for (row, layer) in rows.iter_mut().zip(&view.layers) {
            row["Files"] = layer.effect.changes.iter().map(file).collect();
        }
    }
    rows
}

fn row(layer: &Layer, number: usize) -> Value {
    let (added, changed) = (&layer.effect.added, &layer.effect.changed);
    let diff_id = layer.diff_id.to_string();
    json!({
        "Layer": number,
        "DiffId": diff_id,
        "ShortDiffId": human::id(&diff_id, Length::Short),
        "CreatedBy": layer.created_by,
        "ShortCreatedBy": human::shorten(&layer.created_by, COMMAND_WIDTH),
        "Size": human::size(layer.bytes()),
        "SizeBytes": layer.bytes(),
        "TarSize": human::size(layer.tar),
        "TarSizeBytes": layer.tar,
        "Added": added.files,
        "AddedSize": human::size(added.bytes),
        "AddedBytes": added.bytes,
        "Changed": changed.files,
        "ChangedSize": human::size(changed.bytes),
        "ChangedBytes": changed.bytes,
        "Deleted": layer.deleted(),
        "Wasted": human::size(layer.wasted),
        "WastedBytes": layer.wasted,
    })
}

/// A change. JSON is text, so bytes of a path that are no UTF-8 are replaced.
fn file(change: &Change) -> Value {
    json!({
        "Kind": change.kind.letter(),
        "Path": String::from_utf8_lossy(&change.path),
        "Size": human::size(change.size),
        "SizeBytes": change.size,
    })
}

/// All in one object.
fn document(view: &LayerView, args: &LayersArgs) -> Value {
    json!({
        "Layers": rows_for(view, args),
        "Size": human::size(view.bytes()),
        "SizeBytes": view.bytes(),
        "Wasted": human::size(view.wasted_bytes()),
        "WastedBytes": view.wasted_bytes(),
        "Efficiency": view.efficiency(),
    })
}

fn wasted_rows(view: &LayerView) -> Vec<Value> {
    let row = |entry: &plyfs::image::layer_view::WastedPath| {
        json!({
            "Path": String::from_utf8_lossy(&entry.path),
            "Layers": entry.layers,
            "Wasted": human::size(entry.bytes),
            "WastedBytes": entry.bytes,
        })
    };
    view.wasted.iter().map(row).collect()
}

/// The changes of each layer, the paths' bytes as they are.
fn write_files(out: &mut impl Write, view: &LayerView) -> io::Result<()> {
    for (layer, number) in view.layers.iter().zip(1..) {
        let command = listing::printable(&human::shorten(&layer.created_by, COMMAND_WIDTH));
        let id = human::id(&layer.diff_id.to_string(), Length::Short);
        writeln!(out, "{}", format!("Layer {number}: {id} {command}").trim_end())?;
        for change in &layer.effect.changes {
            write!(out, "{} {:>8} ", change.kind.letter(), human::size(change.size))?;
            out.write_all(&change.path)?;
            out.write_all(b"\n")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn write_total(out: &mut impl Write, view: &LayerView) -> io::Result<()> {
    let (bytes, wasted) = (human::size(view.bytes()), human::size(view.wasted_bytes()));
    let layers = if view.layers.len() == 1 { "layer" } else { "layers" };
    writeln!(
        out,
        "Total: {} {layers}, {bytes}, {wasted} wasted, efficiency {:.1}%",
        view.layers.len(),
        view.efficiency() * 100.0
    )
}
