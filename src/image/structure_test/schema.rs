//! The file of container-structure-test, schema 2.0.0. A field that the schema does not have is an error: a test with a
//! misspelt field would pass without testing anything.

use serde::{Deserialize, Serialize};

/// A whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schema {
    /// `2.0.0`.
    pub schema_version: String,
    /// Variables for all commands.
    #[serde(default)]
    pub global_env_vars: Vec<Variable>,
    /// Commands and their output.
    #[serde(default)]
    pub command_tests: Vec<CommandTest>,
    /// Files that are there, or are not.
    #[serde(default)]
    pub file_existence_tests: Vec<FileExistenceTest>,
    /// Content of files.
    #[serde(default)]
    pub file_content_tests: Vec<FileContentTest>,
    /// The image's configuration.
    #[serde(default)]
    pub metadata_test: Option<MetadataTest>,
    /// Licenses of packages.
    #[serde(default)]
    pub license_tests: Vec<LicenseTest>,
    /// How commands are run.
    #[serde(default)]
    pub container_run_options: Option<RunOptions>,
}

/// A variable or label, and its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// The name.
    pub key: String,
    /// The value.
    #[serde(default)]
    pub value: String,
    /// Whether the value is a regular expression.
    #[serde(default)]
    pub is_regex: bool,
}

/// A command and what is expected of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandTest {
    /// The test's name.
    pub name: String,
    /// Commands to run before.
    #[serde(default)]
    pub setup: Vec<Vec<String>>,
    /// Commands to run after.
    #[serde(default)]
    pub teardown: Vec<Vec<String>>,
    /// Variables for the command.
    #[serde(default)]
    pub env_vars: Vec<Variable>,
    /// The status it should exit with.
    #[serde(default)]
    pub exit_code: i32,
    /// The program.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Regular expressions that the standard output should match.
    #[serde(default)]
    pub expected_output: Vec<String>,
    /// Those that it should not.
    #[serde(default)]
    pub excluded_output: Vec<String>,
    /// Regular expressions that the standard error should match.
    #[serde(default)]
    pub expected_error: Vec<String>,
    /// Those that it should not.
    #[serde(default)]
    pub excluded_error: Vec<String>,
}

/// A file that should be there, or should not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileExistenceTest {
    /// The test's name.
    pub name: String,
    /// The file, with variables of the image's environment.
    pub path: String,
    /// Whether it should be there.
    #[serde(default = "yes")]
    pub should_exist: bool,
    /// As `ls -l` shows them: `-rw-r--r--`.
    #[serde(default)]
    pub permissions: Option<String>,
    /// The owner.
    #[serde(default)]
    pub uid: Option<i64>,
    /// The group.
    #[serde(default)]
    pub gid: Option<i64>,
    /// Who may execute it.
    #[serde(default)]
    pub is_executable_by: Option<Executor>,
}

fn yes() -> bool {
    true
}

/// Who may execute a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// Its owner.
    Owner,
    /// Its group.
    Group,
    /// All others.
    Other,
    /// One of these.
    Any,
}

/// A file and its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileContentTest {
    /// The test's name.
    pub name: String,
    /// The file, with variables of the image's environment.
    pub path: String,
    /// Regular expressions that the content should match.
    #[serde(default)]
    pub expected_contents: Vec<String>,
    /// Those that it should not.
    #[serde(default)]
    pub excluded_contents: Vec<String>,
}

/// The image's configuration. Only what is given is tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetadataTest {
    /// Labels that should be there.
    #[serde(default)]
    pub labels: Vec<Variable>,
    /// Variables that should be set; `env` was their name in earlier releases.
    #[serde(default, alias = "env")]
    pub env_vars: Vec<Variable>,
    /// Variables that should not be set.
    #[serde(default)]
    pub unbound_env_vars: Vec<Variable>,
    /// Ports that should be exposed.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    /// Ports that should not be exposed.
    #[serde(default)]
    pub unexposed_ports: Vec<String>,
    /// Volumes that should be there.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Volumes that should not be there.
    #[serde(default)]
    pub unmounted_volumes: Vec<String>,
    /// The whole entrypoint.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// The whole command.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    #[serde(default)]
    pub workdir: Option<String>,
    /// The user.
    #[serde(default)]
    pub user: Option<String>,
}

/// A test of licenses. Not supported here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LicenseTest {
    /// Whether to look where Debian keeps copyright files.
    #[serde(default)]
    pub debian: bool,
    /// Other files to look at.
    #[serde(default)]
    pub files: Vec<String>,
}

/// How commands are run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunOptions {
    /// The user.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether with all privileges.
    #[serde(default)]
    pub privileged: bool,
    /// Whether on a terminal.
    #[serde(default, rename = "allocateTty")]
    pub allocate_tty: bool,
    /// A file with variables.
    #[serde(default)]
    pub env_file: Option<String>,
    /// Names of variables to take over from outside.
    #[serde(default)]
    pub env_vars: Vec<String>,
    /// Capabilities to add.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Directories to bind.
    #[serde(default)]
    pub bind_mounts: Vec<String>,
}
