//! Listings: a table for people, JSON for programs, or what a template makes of each row.

use std::io::{self, Write};

use anyhow::Context;
use plyfs::image::field_path;
use serde_json::Value;

/// A column of the table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// What stands above it.
    pub title: &'static str,
    /// The field of the row that is shown.
    pub field: &'static str,
}

/// Prints rows, which are JSON objects: as a table, as one JSON array (`json`), or each through a template.
///
/// # Errors
/// The template is wrong, or standard output cannot be written.
pub fn print(rows: &[Value], columns: &[Column], format: Option<&str>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        None | Some("table") => write_table(&mut out, rows, columns)?,
        Some("json") => {
            serde_json::to_writer_pretty(&mut out, rows)?;
            out.write_all(b"\n")?;
        }
        Some(template) => {
            for row in rows {
                let line =
                    field_path::render(template, row).with_context(|| format!("--format {template:?}"))?;
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Columns as wide as their widest cell, three blanks apart.
fn write_table(out: &mut impl Write, rows: &[Value], columns: &[Column]) -> io::Result<()> {
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_owned()).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(&row[column.field])).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("   ").trim_end())?;
    }
    Ok(())
}

/// A value as a table shows it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [json!({"Name": "a", "Size": "1 B"}), json!({"Name": "longer", "Size": null})];
        let columns = [Column { title: "NAME", field: "Name" }, Column { title: "SIZE", field: "Size" }];
        let mut out = Vec::new();
        write_table(&mut out, &rows, &columns).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "NAME     SIZE\na        1 B\nlonger\n");
    }
}
