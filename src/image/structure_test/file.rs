//! Tests of files.

use super::schema::{Executor, FileContentTest, FileExistenceTest};
use super::variables::with_variables;
use super::{FileFact, Files, mode, pattern};
use crate::oci::config::RunConfig;

/// What is not as the test expects.
pub fn existence<F: Files>(test: &FileExistenceTest, files: &F, config: &RunConfig) -> Vec<String> {
    let path = with_variables(&test.path, &config.env);
    match (files.stat(path.as_bytes()), test.should_exist) {
        (Err(error), _) => vec![format!("cannot look up {path}: {}", reasons(&error))],
        (Ok(None), true) => vec![format!("{path} should exist and does not")],
        (Ok(None), false) => Vec::new(),
        (Ok(Some(_)), false) => vec![format!("{path} should not exist and does")],
        (Ok(Some(fact)), true) => compare(test, &path, fact),
    }
}

/// What of a file is not as the test expects.
fn compare(test: &FileExistenceTest, path: &str, fact: FileFact) -> Vec<String> {
    let mut wrong = Vec::new();
    let shown = mode::as_ls(fact.mode);
    if let Some(expected) = &test.permissions
        && *expected != shown
        && *expected != mode::as_go(fact.mode)
    {
        wrong.push(format!("{path} has the permissions {shown}; {expected} was expected"));
    }
    for (what, expected, found) in [("user", test.uid, fact.uid), ("group", test.gid, fact.gid)] {
        // A negative number stands for any, as with container-structure-test.
        if let Some(expected) = expected.filter(|id| *id >= 0)
            && expected != i64::from(found)
        {
            wrong.push(format!("{path} belongs to the {what} {found}; {expected} was expected"));
        }
    }
    if let Some(executor) = test.is_executable_by {
        let (bits, who) = match executor {
            Executor::Owner => (0o100, "its owner"),
            Executor::Group => (0o010, "its group"),
            Executor::Other => (0o001, "others"),
            Executor::Any => (0o111, "anyone"),
        };
        if fact.mode & bits == 0 {
            wrong.push(format!("{path} should be executable by {who}; its permissions are {shown}"));
        }
    }
    wrong
}

/// What of a file's content is not as the test expects.
pub fn content<F: Files>(test: &FileContentTest, files: &F, config: &RunConfig) -> Vec<String> {
    let path = with_variables(&test.path, &config.env);
    match files.read(path.as_bytes()) {
        Err(error) => vec![format!("cannot read {path}: {}", reasons(&error))],
        Ok(content) => pattern::unmatched(&path, &content, &test.expected_contents, &test.excluded_contents),
    }
}

/// An error with its sources.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
