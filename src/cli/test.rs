//! `plyfs test`: what was typed.

use std::path::PathBuf;

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs test app:1 structure.yaml
  plyfs test --format json app:1 structure.yaml more.json

Each command test runs in a container of its own, which is removed afterwards.";

/// Test an image against files of container-structure-test (schema 2.0.0)
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// YAML or JSON files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// table, json, or a template such as '{{.Name}} {{.Result}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
