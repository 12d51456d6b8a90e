//! `plyfs layer pack`: writes an upper as an OCI layer.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use anyhow::{Context, bail};
use plyfs::layer::pack::{PackOptions, Packed, pack, pack_to_file};

use crate::cli::layer::LayerPackArgs;

/// The variable that sets the latest time a file may bear (reproducible-builds.org).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Packs, and prints the diff ID: to standard error where the tar itself goes to standard output.
///
/// # Errors
/// Where a layer cannot be read or the tar not be written; a file is complete or absent.
pub fn run(args: &LayerPackArgs) -> anyhow::Result<()> {
    let options = PackOptions {
        latest_mtime: latest_mtime(std::env::var_os(SOURCE_DATE_EPOCH).as_deref())?,
        work: args.work.clone(),
        ..PackOptions::default()
    };
    let packed = write(args, &options).with_context(|| format!("cannot pack {}", args.upper.display()))?;
    if args.output == OsStr::new("-") {
        writeln!(io::stderr(), "{}", packed.diff_id)?;
    } else {
        writeln!(io::stdout(), "{}", packed.diff_id)?;
    }
    Ok(())
}

/// Writes the tar where it is wanted.
fn write(args: &LayerPackArgs, options: &PackOptions) -> anyhow::Result<Packed> {
    if args.output != OsStr::new("-") {
        return Ok(pack_to_file(&args.upper, &args.lowers, options, &args.output)?);
    }
    let out = io::stdout();
    if out.is_terminal() {
        bail!("a tar is not for a terminal; redirect standard output or name a file with -o");
    }
    Ok(pack(&args.upper, &args.lowers, options, out.lock())?)
}

/// The time that `SOURCE_DATE_EPOCH` sets, if it is set.
fn latest_mtime(value: Option<&OsStr>) -> anyhow::Result<Option<i64>> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.parse().ok());
    seconds.map(Some).with_context(|| format!("{SOURCE_DATE_EPOCH} is {value:?}, not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_date_epoch() {
        assert_eq!(latest_mtime(None).expect("unset"), None);
        assert_eq!(latest_mtime(Some(OsStr::new(""))).expect("empty"), None);
        assert_eq!(latest_mtime(Some(OsStr::new("12"))).expect("set"), Some(12));
        assert!(latest_mtime(Some(OsStr::new("noon"))).is_err());
    }
}
