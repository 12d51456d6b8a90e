//! Several layers as one: the whole tree that they show, or only how it differs from what the layers below show.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{PackOptions, Packed, Packer};
use crate::format::whiteout;
use crate::layer::LayerError;
use crate::layer::index::Aliases;
use crate::layer::lowers::{Lower, Stack};
use crate::layer::merged::Merged;
use crate::marks::LowerMarks;
use crate::sys::process::raise_nofile_limit;

/// Writes what `layers` show together (top first), as far as `base`, which are the last ones of them, do not show
/// it already: with no base a flat tree. The tar is made as [`super::pack`] makes it, except that a directory that
/// replaces one of the base has whiteouts for what is gone, and no opaque mark.
///
/// # Errors
/// Those of [`super::pack`].
pub fn squash(
    layers: &[PathBuf],
    base: &[PathBuf],
    options: &PackOptions,
    out: impl Write,
) -> Result<Packed, LayerError> {
    raise_nofile_limit();
    let aliases = match (&options.work, layers) {
        (Some(work), [upper, lowers @ ..]) => {
            Aliases::find(work, &Merged::open(upper, lowers, LowerMarks::ByAuthor)?.0)?
        }
        _ => Aliases::default(),
    };
    let (shown, base) = (Stack::open(layers)?, Stack::open(base)?);
    let mut packer = Packer::new(out, options, aliases);
    packer.visit_shown(&shown, &base)?;
    packer.finish()
}

impl<W: Write> Packer<'_, W> {
    /// Writes how the directory `shown` differs from `base` at the same path.
    fn visit_shown(&mut self, shown: &Stack, base: &Stack) -> Result<(), LayerError> {
        let names = shown.names()?;
        for gone in base.names()?.difference(&names) {
            if !matches!(base.lookup(gone)?, Lower::Absent) {
                self.write_marker(&whiteout::file_name(gone))?;
            }
        }
        for name in names {
            self.write_shown(&name, shown.lookup(&name)?, base.lookup(&name)?)?;
        }
        Ok(())
    }

    /// Writes one name of a directory, unless the base has the very same file.
    fn write_shown(&mut self, name: &OsStr, shown: Lower, base: Lower) -> Result<(), LayerError> {
        let path = [&self.path, name.as_bytes()].concat();
        match (shown, base) {
            (Lower::Absent, _) => Ok(()),
            (Lower::File(lookup), base) => {
                let alias = self.aliases.get(&path).cloned();
                match base {
                    Lower::File(old) if old.file.node.inode == lookup.file.node.inode => Ok(()),
                    _ => self.write_file(path, &alias.unwrap_or(lookup)),
                }
            }
            // The topmost part being the same, so is all below it.
            (Lower::Dir(place, _), Lower::Dir(old, _)) if old.node.inode == place.node.inode => Ok(()),
            (Lower::Dir(place, shown), base) => {
                let base = match base {
                    Lower::Dir(_, base) => base,
                    Lower::Absent | Lower::File(_) => shown.emptied(),
                };
                self.write_dir(path, &place, None)?;
                let length = self.path.len();
                self.path.extend_from_slice(name.as_bytes());
                self.path.push(b'/');
                self.visit_shown(&shown, &base)?;
                self.path.truncate(length);
                Ok(())
            }
        }
    }
}
