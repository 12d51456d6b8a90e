//! Regular expressions in tests, and the check of a file of tests before it is run.

use regex::bytes::Regex;

use super::StructureTestError;
use super::schema::{Schema, Variable};

/// How much of a content an error shows.
const SHOWN: usize = 200;

/// Whether `pattern` matches somewhere in `text`. One that cannot be read was refused before.
pub fn matches(pattern: &str, text: &[u8]) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

/// What of `expected` does not match `content`, and what of `excluded` does.
pub fn unmatched(what: &str, content: &[u8], expected: &[String], excluded: &[String]) -> Vec<String> {
    let shown = || shown(content);
    let missing = expected.iter().filter(|pattern| !matches(pattern, content));
    let missing = missing.map(|pattern| format!("{what} does not match {pattern:?}; it is {}", shown()));
    let found = excluded.iter().filter(|pattern| matches(pattern, content));
    missing.chain(found.map(|pattern| format!("{what} matches {pattern:?} and should not"))).collect()
}

/// The beginning of a content, in quotes.
fn shown(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let start: String = text.chars().take(SHOWN).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

impl Schema {
    /// Looks for what the schema's shape does not tell: empty names and bad expressions.
    pub(super) fn check(&self) -> Result<(), StructureTestError> {
        not_empty("globalEnvVars", &self.global_env_vars)?;
        for test in &self.command_tests {
            let label = format!("command test {:?}", test.name);
            check_text(&label, "name", &test.name)?;
            check_text(&label, "command", &test.command)?;
            if test.setup.iter().chain(&test.teardown).any(Vec::is_empty) {
                return Err(StructureTestError::Empty {
                    test: label,
                    field: "a command of setup or teardown",
                });
            }
            not_empty(&label, &test.env_vars)?;
            let expected = test.expected_output.iter().chain(&test.expected_error);
            check_patterns(&label, expected.chain(&test.excluded_output).chain(&test.excluded_error))?;
        }
        for test in &self.file_existence_tests {
            let label = format!("file existence test {:?}", test.name);
            check_text(&label, "name", &test.name)?;
            check_text(&label, "path", &test.path)?;
        }
        for test in &self.file_content_tests {
            let label = format!("file content test {:?}", test.name);
            check_text(&label, "name", &test.name)?;
            check_text(&label, "path", &test.path)?;
            check_patterns(&label, test.expected_contents.iter().chain(&test.excluded_contents))?;
        }
        if let Some(test) = &self.metadata_test {
            let label = "metadata test";
            let variables = [&test.labels, &test.env_vars, &test.unbound_env_vars];
            variables.iter().try_for_each(|variables| not_empty(label, variables))?;
            let patterns = test.labels.iter().chain(&test.env_vars).filter(|v| v.is_regex);
            check_patterns(label, patterns.map(|v| &v.value))?;
        }
        Ok(())
    }
}

fn check_text(test: &str, field: &'static str, text: &str) -> Result<(), StructureTestError> {
    if text.is_empty() { Err(StructureTestError::Empty { test: test.to_owned(), field }) } else { Ok(()) }
}

fn not_empty(test: &str, variables: &[Variable]) -> Result<(), StructureTestError> {
    variables.iter().try_for_each(|variable| check_text(test, "key", &variable.key))
}

fn check_patterns<'a>(
    test: &str,
    patterns: impl Iterator<Item = &'a String>,
) -> Result<(), StructureTestError> {
    for pattern in patterns {
        Regex::new(pattern).map_err(|source| StructureTestError::Pattern {
            test: test.to_owned(),
            pattern: pattern.clone(),
            source,
        })?;
    }
    Ok(())
}
