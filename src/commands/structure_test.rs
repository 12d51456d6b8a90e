//! `plyfs test`: tests an image against files of container-structure-test.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use plyfs::image::Catalog;
use plyfs::image::files::LayerFiles;
use plyfs::image::structure_test::{Outcome, StructureTest, TestResult};
use serde_json::{Value, json};

use super::command_test::Containers;
use super::listing::{self, Column, printable};
use super::tree::{self, Named};
use super::{progress, store};
use crate::cli::test::TestArgs;

const COLUMNS: &[Column] = &[
    Column { title: "KIND", field: "Kind" },
    Column { title: "NAME", field: "Name" },
    Column { title: "RESULT", field: "Result" },
];

/// Prints what came of each test; fails if one did. All files are read before the first test is run.
///
/// # Errors
/// There is no such image, a file holds no tests, or the template is wrong.
pub fn run(args: &TestArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut tests = Vec::new();
    for path in &args.files {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let test = StructureTest::parse(&text);
        tests.push((path, test.with_context(|| format!("{} holds no tests", path.display()))?));
    }
    let root = store::root(root)?;
    let store = store::open(Some(&root))?;
    let image = Catalog::read(&store)?.find(&args.image)?.clone();
    let config = image.config(&store)?;
    let spinner = progress::spinner("testing");
    let id = image.id().to_string();
    let tree = tree::shown(&store, &Named::Image(image))?;
    let files = LayerFiles::open(&tree.layers)?;
    let runner = Containers { image: &id, root: &root };
    let mut outcomes = Vec::new();
    for (path, test) in &tests {
        let all = test.evaluate(&files, &runner, &config.config);
        outcomes.extend(all.into_iter().map(|outcome| (path.as_path(), outcome)));
    }
    spinner.finish_and_clear();
    let rows: Vec<Value> = outcomes.iter().map(|(path, outcome)| row(path, outcome)).collect();
    match args.format.as_deref() {
        None | Some("table") => write_report(&mut BufWriter::new(io::stdout().lock()), &rows, &outcomes)?,
        format => listing::print(&rows, COLUMNS, format)?,
    }
    let failed = outcomes.iter().any(|(_, outcome)| matches!(outcome.result, TestResult::Fail(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn row(path: &Path, outcome: &Outcome) -> Value {
    let (result, reasons) = match &outcome.result {
        TestResult::Pass => ("pass", Vec::new()),
        TestResult::Fail(wrong) => ("fail", wrong.clone()),
        TestResult::Skipped(why) => ("skipped", vec![why.clone()]),
    };
    json!({
        "File": path.to_string_lossy(),
        "Kind": outcome.kind.title(),
        "Name": outcome.name,
        "Result": result,
        "Reasons": reasons,
    })
}

/// The table, then why tests failed or were skipped, then how many did what.
fn write_report(out: &mut impl Write, rows: &[Value], outcomes: &[(&Path, Outcome)]) -> io::Result<()> {
    listing::write_table(out, rows, COLUMNS)?;
    let (mut passed, mut failed, mut skipped) = (0_usize, 0_usize, 0_usize);
    for (_, outcome) in outcomes {
        let (count, word, reasons) = match &outcome.result {
            TestResult::Pass => (&mut passed, "pass", &[][..]),
            TestResult::Fail(wrong) => (&mut failed, "failed", wrong.as_slice()),
            TestResult::Skipped(why) => (&mut skipped, "skipped", std::slice::from_ref(why)),
        };
        *count += 1;
        if !reasons.is_empty() {
            let title = format!("{} {}", outcome.kind.title(), printable(&outcome.name));
            writeln!(out, "\n{} {word}:", title.trim_end())?;
        }
        reasons.iter().try_for_each(|reason| writeln!(out, "  {}", printable(reason)))?;
    }
    writeln!(out, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
    out.flush()
}
