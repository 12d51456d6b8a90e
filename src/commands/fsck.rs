//! `plyfs fsck`: checks the store, and mends it.

use std::path::Path;
use std::process::ExitCode;

use plyfs::store::{Depth, Finding, Outcome, Severity};
use serde_json::{Value, json};

use super::listing::{self, Column};
use super::{progress, store};
use crate::cli::fsck::FsckArgs;

const COLUMNS: &[Column] = &[
    Column { title: "SEVERITY", field: "Severity" },
    Column { title: "WHAT", field: "What" },
    Column { title: "DONE", field: "Done" },
];

/// Prints what is wrong; fails if something is that was not mended.
///
/// # Errors
/// The store cannot be read.
pub fn run(args: &FsckArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let store = store::open(root)?;
    let depth = if args.quick { Depth::Structure } else { Depth::Contents };
    let spinner = progress::spinner("checking");
    let (rows, left) = if args.repair {
        let writer = store.lock()?;
        let repaired = writer.repair(&store.check(depth)?);
        let left = repaired.iter().filter(|r| matches!(r.outcome, Outcome::Left(_))).map(|r| &r.finding);
        let left = left.filter(|finding| finding.severity() == Severity::Error).count();
        (repaired.iter().map(|r| row(&r.finding, Some(&r.outcome))).collect::<Vec<_>>(), left)
    } else {
        let findings = store.check(depth)?;
        let bad = findings.iter().filter(|finding| finding.severity() == Severity::Error).count();
        (findings.iter().map(|finding| row(finding, None)).collect(), bad)
    };
    spinner.finish_and_clear();
    match (rows.is_empty(), args.format.as_deref()) {
        (true, None | Some("table")) => println!("{}: nothing is wrong", store.root().display()),
        (_, format) => listing::print(&rows, COLUMNS, format)?,
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(finding: &Finding, outcome: Option<&Outcome>) -> Value {
    let severity = match finding.severity() {
        Severity::Info => "info",
        Severity::Error => "error",
    };
    let done = match outcome {
        None => String::new(),
        Some(Outcome::Mended(what)) => format!("mended: {what}"),
        Some(Outcome::Left(why)) => format!("left: {why}"),
    };
    json!({ "Severity": severity, "What": finding.to_string(), "Done": done })
}
