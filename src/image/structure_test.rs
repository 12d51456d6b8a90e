//! Tests of an image's files and configuration, as container-structure-test describes them (schema 2.0.0).

use crate::oci::config::RunConfig;

/// A file of tests.
#[derive(Debug, Clone)]
pub struct StructureTest;

/// Why a text is no file of tests.
#[derive(Debug, thiserror::Error)]
pub enum StructureTestError {}

/// What a test may ask about a file of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestResult {
    /// All is as expected.
    Pass,
    /// What is not as expected.
    Fail(Vec<String>),
    /// Why it was not run.
    Skipped(String),
}

impl StructureTest {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// The text is neither, or not of this schema.
    pub fn parse(_: &str) -> Result<StructureTest, StructureTestError> {
        todo!()
    }

    /// Runs all tests that need no running container; the others are reported as skipped.
    pub fn evaluate<F: Files>(&self, _: &F, _: &RunConfig) -> Vec<Outcome> {
        todo!()
    }
}
