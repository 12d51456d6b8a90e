//! `plyfs command-test`, which `plyfs test` calls: what was typed.

use clap::Args;

/// Run one command test, read from standard input, in a container of its own
#[derive(Debug, Clone, Args)]
pub struct CommandTestArgs {
    /// The container's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
}
