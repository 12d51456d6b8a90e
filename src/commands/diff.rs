//! `plyfs diff`: prints what an upper changes.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use plyfs::layer::diff::{Change, diff};

use crate::cli::diff::{DiffArgs, DiffFormat};

/// Prints the changes to standard output.
///
/// # Errors
/// Where a layer cannot be read or the output not be written.
pub fn run(args: &DiffArgs) -> anyhow::Result<()> {
    let changes = diff(&args.upper, &args.lowers, args.work.as_deref())
        .with_context(|| format!("cannot compare {} with its lower layers", args.upper.display()))?;
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        DiffFormat::Text => write_text(&mut out, &changes)?,
        DiffFormat::Json => write_json(&mut out, &changes)?,
    }
    out.flush()?;
    Ok(())
}

/// One line a change, the path's bytes as they are.
fn write_text(out: &mut impl Write, changes: &[Change]) -> io::Result<()> {
    for change in changes {
        write!(out, "{} ", change.kind.letter())?;
        out.write_all(&change.path)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// One array. JSON is text, so bytes of a path that are no UTF-8 are replaced.
fn write_json(out: &mut impl Write, changes: &[Change]) -> anyhow::Result<()> {
    let object = |change: &Change| {
        let path = String::from_utf8_lossy(&change.path);
        serde_json::json!({ "kind": change.kind.letter(), "path": path })
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
        vec![Change { kind: ChangeKind::Deleted, path: b"/a\xff".to_vec() }]
    }

    #[test]
    fn text_keeps_the_bytes() {
        let mut out = Vec::new();
        write_text(&mut out, &changes()).expect("memory");
        assert_eq!(out, b"D /a\xff\n");
    }

    #[test]
    fn json_is_an_array() {
        let mut out = Vec::new();
        write_json(&mut out, &changes()).expect("memory");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value, serde_json::json!([{ "kind": "D", "path": "/a\u{fffd}" }]));
        out.clear();
        write_json(&mut out, &[]).expect("memory");
        assert_eq!(out, b"[]\n");
    }
}
