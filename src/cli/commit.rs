//! `plyfs commit`: what was typed.

use clap::Args;

use super::Compression;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs commit web app:1
  plyfs commit -a 'Ann <ann@example.org>' -m 'with curl' -c 'ENTRYPOINT [\"curl\"]' web app:2";

/// Make an image of what was changed in a container
#[derive(Debug, Clone, Args)]
pub struct CommitArgs {
    /// The container; it may be mounted
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// The new image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "AUTHOR")]
    pub author: Option<String>,
    /// Why it was made
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Change the configuration by a Dockerfile instruction (CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD
    /// STOPSIGNAL USER VOLUME WORKDIR); may be given several times
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub changes: Vec<String>,
    /// How the layer is compressed
    #[arg(long, value_enum, default_value_t = Compression::Gzip, value_name = "FORM")]
    pub compression: Compression,
    /// Do not stop changes to a mounted container meanwhile
    #[arg(long)]
    pub no_pause: bool,
}
