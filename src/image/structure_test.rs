//! Tests of an image's files and configuration, as container-structure-test describes them (schema 2.0.0).
//!
//! Files are seen through [`Files`], so that tests run on an unpacked image, a mount, or a table in memory.

pub mod command;
mod file;
mod metadata;
mod mode;
mod pattern;
pub mod schema;
mod variables;

use command::CommandRun;
use schema::Schema;

use serde::{Deserialize, Serialize};

use crate::oci::config::RunConfig;

/// The only version of the schema that is understood.
const VERSION: &str = "2.0.0";

/// A file of tests.
#[derive(Debug, Clone, PartialEq)]
pub struct StructureTest(Schema);

/// Why a text is no file of tests.
#[derive(Debug, thiserror::Error)]
pub enum StructureTestError {
    /// It is no YAML or JSON of the schema's shape.
    #[error("cannot read the structure tests: {0}")]
    Shape(String),
    /// It is of another version.
    #[error("the structure tests have schemaVersion {0:?}; only {VERSION:?} is supported")]
    Version(String),
    /// A test lacks a name, a path, a command or a key.
    #[error("{test}: {field} must not be empty")]
    Empty {
        /// What kind of test, and which.
        test: String,
        /// What is empty.
        field: &'static str,
    },
    /// A regular expression cannot be read.
    #[error("{test}: {pattern:?} is no regular expression")]
    Pattern {
        /// The test.
        test: String,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
}

/// What a test may ask about a file of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFact {
    /// Type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The files of an image. Links are followed inside the image.
pub trait Files {
    /// How a lookup fails.
    type Error: std::error::Error;

    /// What the file at `path` is; `None` where there is none.
    ///
    /// # Errors
    /// The file cannot be looked up.
    fn stat(&self, path: &[u8]) -> Result<Option<FileFact>, Self::Error>;

    /// The content of the file at `path`.
    ///
    /// # Errors
    /// There is no regular file, or it cannot be read.
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, Self::Error>;
}

/// Runs commands in containers of the image.
pub trait Runner {
    /// Runs one test.
    fn run(&self, run: &CommandRun) -> TestResult;
}

/// A [`Runner`] where nothing can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRunner;

impl Runner for NoRunner {
    fn run(&self, _: &CommandRun) -> TestResult {
        TestResult::Skipped("commands are not run here".to_owned())
    }
}

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// What it tests.
    pub kind: Kind,
    /// What came of it.
    pub result: TestResult,
}

/// What a test tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A command's output.
    Command,
    /// That a file is there.
    FileExistence,
    /// A file's content.
    FileContent,
    /// The image's configuration.
    Metadata,
    /// Licenses of packages.
    License,
}

impl Kind {
    /// As container-structure-test writes it before a test's name.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Command => "Command Test",
            Kind::FileExistence => "File Existence Test",
            Kind::FileContent => "File Content Test",
            Kind::Metadata => "Metadata Test",
            Kind::License => "License Test",
        }
    }
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TestResult {
    /// All is as expected.
    Pass,
    /// What is not as expected.
    Fail(Vec<String>),
    /// Why it was not run.
    Skipped(String),
}

impl TestResult {
    /// A pass if nothing is wrong.
    fn of(wrong: Vec<String>) -> TestResult {
        if wrong.is_empty() { TestResult::Pass } else { TestResult::Fail(wrong) }
    }
}

impl StructureTest {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// The text is neither, not of this schema (a field that it does not have is an error), or has an empty name or a
    /// regular expression that cannot be read.
    pub fn parse(text: &str) -> Result<StructureTest, StructureTestError> {
        // JSON is nearly, but not wholly, YAML; and its errors are better told by a reader of JSON.
        let schema: Schema = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| StructureTestError::Shape(e.to_string()))?
        } else {
            serde_saphyr::from_str(text).map_err(|e| StructureTestError::Shape(e.to_string()))?
        };
        if schema.schema_version != VERSION {
            return Err(StructureTestError::Version(schema.schema_version));
        }
        schema.check()?;
        Ok(StructureTest(schema))
    }

    /// The tests as they were read.
    pub fn schema(&self) -> &Schema {
        &self.0
    }

    /// Runs all tests in the order of container-structure-test: commands, existence, content, licenses, metadata.
    /// Licenses are not supported and skipped.
    pub fn evaluate<F: Files, R: Runner>(&self, files: &F, runner: &R, config: &RunConfig) -> Vec<Outcome> {
        let schema = &self.0;
        let mut outcomes = Vec::new();
        for test in &schema.command_tests {
            let result = runner.run(&CommandRun {
                test: test.clone(),
                variables: schema.global_env_vars.clone(),
                options: schema.container_run_options.clone().unwrap_or_default(),
            });
            outcomes.push(Outcome { name: test.name.clone(), kind: Kind::Command, result });
        }
        for test in &schema.file_existence_tests {
            let result = TestResult::of(file::existence(test, files, config));
            outcomes.push(Outcome { name: test.name.clone(), kind: Kind::FileExistence, result });
        }
        for test in &schema.file_content_tests {
            let result = TestResult::of(file::content(test, files, config));
            outcomes.push(Outcome { name: test.name.clone(), kind: Kind::FileContent, result });
        }
        for _ in &schema.license_tests {
            let result = TestResult::Skipped("tests of licenses are not supported".to_owned());
            outcomes.push(Outcome { name: String::new(), kind: Kind::License, result });
        }
        if let Some(test) = &schema.metadata_test {
            let result = TestResult::of(metadata::compare(test, config));
            outcomes.push(Outcome { name: String::new(), kind: Kind::Metadata, result });
        }
        outcomes
    }
}

#[cfg(test)]
mod tests;
