//! `plyfs diff`: prints what was changed in a container, or what an upper changes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use plyfs::layer::diff::{Change, diff};
use plyfs::run::Instance;
use plyfs::run::sandbox::Sandbox;

use super::{human, mounted, sandbox, store, tree};
use crate::cli::diff::{DiffArgs, DiffFormat};

/// Prints the changes to standard output.
///
/// # Errors
/// There is no such container, a layer cannot be read, or the output not be written.
pub fn run(args: &DiffArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let changes = match (&args.container, &args.upper) {
        (Some(name), _) => of_container(name, root)?,
        (None, Some(upper)) => diff(upper, &args.lowers, args.work.as_deref())
            .with_context(|| format!("cannot compare {} with its lower layers", upper.display()))?,
        (None, None) => anyhow::bail!("name a container, or the directories with --upper and --lower"),
    };
    let sizes = if args.size { Sizes::Shown } else { Sizes::Left };
    print(&changes, args.format, sizes)
}

/// Whether the size of each file is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// It is.
    Shown,
    /// It is not.
    Left,
}

/// Prints changes to standard output.
///
/// # Errors
/// It cannot be written.
pub fn print(changes: &[Change], format: DiffFormat, sizes: Sizes) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match format {
        DiffFormat::Text => write_text(&mut out, changes, sizes)?,
        DiffFormat::Json => write_json(&mut out, changes, sizes)?,
    }
    out.flush()?;
    Ok(())
}

fn of_container(name: &str, root: Option<&Path>) -> anyhow::Result<Vec<Change>> {
    let store = store::open(root)?;
    let container = store.find_container(name)?;
    if Sandbox::of(&container.extra).is_some() {
        return sandbox::changes(&Instance::new(&store, container));
    }
    mounted::settle(&store, &container)?;
    let named = tree::Named::Container(container);
    let tree = tree::shown(&store, &named)?;
    let (upper, lowers) = tree.layers.split_first().context("the container has no layers")?;
    diff(upper, lowers, tree.work.as_deref()).with_context(|| format!("cannot compare container {name}"))
}

/// One line a change, the path's bytes as they are; with sizes, their sum at the end.
fn write_text(out: &mut impl Write, changes: &[Change], sizes: Sizes) -> io::Result<()> {
    for change in changes {
        write!(out, "{} ", change.kind.letter())?;
        if sizes == Sizes::Shown {
            write!(out, "{:>8} ", human::size(change.size))?;
        }
        out.write_all(&change.path)?;
        out.write_all(b"\n")?;
    }
    if sizes == Sizes::Shown {
        let sum = changes.iter().map(|change| change.size).sum();
        writeln!(out, "{} changes, {}", changes.len(), human::size(sum))?;
    }
    Ok(())
}

/// One array. JSON is text, so bytes of a path that are no UTF-8 are replaced.
fn write_json(out: &mut impl Write, changes: &[Change], sizes: Sizes) -> anyhow::Result<()> {
    let object = |change: &Change| {
        let path = String::from_utf8_lossy(&change.path);
        match sizes {
            Sizes::Shown => {
                serde_json::json!({ "kind": change.kind.letter(), "path": path, "size": change.size })
            }
            Sizes::Left => serde_json::json!({ "kind": change.kind.letter(), "path": path }),
        }
    };
    let array: Vec<_> = changes.iter().map(object).collect();
    serde_json::to_writer_pretty(&mut *out, &array)?;
    out.write_all(b"\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plyfs::layer::diff::ChangeKind;

    fn changes() -> Vec<Change> {
        vec![Change { kind: ChangeKind::Deleted, path: b"/a\xff".to_vec(), size: 0 }]
    }

    #[test]
    fn text_keeps_the_bytes() {
        let mut out = Vec::new();
        write_text(&mut out, &changes(), Sizes::Left).expect("memory");
        assert_eq!(out, b"D /a\xff\n");
    }

    #[test]
    fn sizes_come_with_their_sum() {
        let mut out = Vec::new();
        let all = [Change { kind: ChangeKind::Added, path: b"/f".to_vec(), size: 1500 }];
        write_text(&mut out, &all, Sizes::Shown).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "A    1.5kB /f\n1 changes, 1.5kB\n");
    }

    #[test]
    fn json_is_an_array() {
        let mut out = Vec::new();
        write_json(&mut out, &changes(), Sizes::Left).expect("memory");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value, serde_json::json!([{ "kind": "D", "path": "/a\u{fffd}" }]));
        out.clear();
        write_json(&mut out, &[], Sizes::Shown).expect("memory");
        assert_eq!(out, b"[]\n");
    }
}
