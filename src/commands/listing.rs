//! Listings: a table for people, JSON for programs, or what a template makes of each row. A size stands in a row twice:
//! in words under its name (`Size`), and in bytes under the name with `Bytes` behind it.

use std::io::{self, Write};

use anyhow::Context;
use plyfs::image::field_path;
use serde_json::{Map, Value};

/// What a template begins with if its lines are to be a table, as with docker.
const TABLE: &str = "table ";

/// A column of the table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// What stands above it.
    pub title: &'static str,
    /// The field of the row that is shown.
    pub field: &'static str,
}

/// Prints rows, which are JSON objects: as a table, as one JSON array (`json`), each through a template, or through a
/// template whose tabs are columns of a table (`table TEMPLATE`).
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
        Some(template) => match template.strip_prefix(TABLE) {
            Some(template) => write_template_table(&mut out, rows, columns, template)?,
            None => {
                for row in rows {
                    writeln!(out, "{}", line(template, row)?)?;
                }
            }
        },
    }
    Ok(out.flush()?)
}

/// Prints one value: as JSON, or through a template.
///
/// # Errors
/// As [`print`].
pub fn print_one(value: &Value, format: Option<&str>) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        None | Some("json") => {
            serde_json::to_writer_pretty(&mut out, value)?;
            out.write_all(b"\n")?;
        }
        Some(template) => writeln!(out, "{}", line(template, value)?)?,
    }
    Ok(out.flush()?)
}

/// What a template makes of a row.
///
/// # Errors
/// The template is not well formed, or names a field that is not there.
pub fn line(template: &str, row: &Value) -> anyhow::Result<String> {
    field_path::render(template, row).with_context(|| format!("--format {template:?}"))
}

/// The columns of each row under their titles.
///
/// # Errors
/// The output cannot be written.
pub fn write_table(out: &mut impl Write, rows: &[Value], columns: &[Column]) -> io::Result<()> {
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_owned()).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(&row[column.field])).collect()));
    write_aligned(out, &lines)
}

/// A table whose columns are what a template has between its tabs. The titles are those that its fields have.
fn write_template_table(
    out: &mut impl Write,
    rows: &[Value],
    columns: &[Column],
    template: &str,
) -> anyhow::Result<()> {
    let cells = |text: &str| text.split('\t').map(printable).collect::<Vec<_>>();
    let mut lines = Vec::new();
    if let Some(first) = rows.first() {
        lines.push(cells(&line(template, &titles(first, columns))?));
    }
    for row in rows {
        lines.push(cells(&line(template, row)?));
    }
    Ok(write_aligned(out, &lines)?)
}

/// A row in which each field's value is its title. What is in a field has no title of its own.
fn titles(row: &Value, columns: &[Column]) -> Value {
    let title = |field: &String| {
        let column = columns.iter().find(|column| column.field == field);
        column.map_or_else(|| title_of(field), |column| column.title.to_owned())
    };
    let fields = row.as_object().into_iter().flat_map(Map::keys);
    fields.map(|field| (field.clone(), Value::String(title(field)))).collect::<Map<_, _>>().into()
}

/// The title of a field that is no column: `CREATED AT` of `CreatedAt`.
fn title_of(field: &str) -> String {
    let mut title = String::new();
    let mut lower = false;
    for c in field.chars() {
        if lower && c.is_uppercase() {
            title.push(' ');
        }
        lower = c.is_lowercase();
        title.extend(c.to_uppercase());
    }
    title
}

/// Columns as wide as their widest cell, three blanks apart.
fn write_aligned(out: &mut impl Write, lines: &[Vec<String>]) -> io::Result<()> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    for line in lines {
        let padded = line.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("   ").trim_end())?;
    }
    Ok(())
}

/// A value as a table shows it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The text on one line and without what a terminal takes for commands: it may come from a foreign image.
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_make_tables_too() {
        let rows =
            [json!({"CreatedAt": "now", "ImageID": "1"}), json!({"CreatedAt": "then", "ImageID": "2"})];
        let columns = [Column { title: "IMAGE ID", field: "ImageID" }];
        let mut out = Vec::new();
        write_template_table(&mut out, &rows, &columns, "{{.CreatedAt}}\\t{{.ImageID}}").expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "CREATED AT   IMAGE ID\nnow          1\nthen         2\n");
    }

    #[test]
    fn a_terminal_gets_no_commands() {
        let mut out = Vec::new();
        let columns = [Column { title: "A", field: "A" }];
        write_table(&mut out, &[json!({"A": "\u{1b}[2Jx\ny\t"})], &columns).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "A\n\u{fffd}[2Jx y\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [json!({"Name": "a", "Size": "1 B"}), json!({"Name": "longer", "Size": null})];
        let columns = [Column { title: "NAME", field: "Name" }, Column { title: "SIZE", field: "Size" }];
        let mut out = Vec::new();
        write_table(&mut out, &rows, &columns).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "NAME     SIZE\na        1 B\nlonger\n");
    }
}
