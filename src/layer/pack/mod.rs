//! An upper as an OCI layer: one streaming pass over the upper, its tar digested while it is written.
//!
//! The order is fixed: a directory, then (in byte order each) its whiteouts and its files. A directory that
//! replaces another begins with the opaque mark. Directories renamed from a lower, and files whose data lies
//! in one, are written out whole. Owners, modes and times come from the layer alone.

mod header;
mod output;
mod squash;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::header::{BLOCK, EntryType, Header};
use self::output::Digesting;
pub use self::output::Pending;
pub use self::squash::squash;
use super::LayerError;
use super::index::Aliases;
use super::lowers::{Lookup, Lower};
use super::merged::{Child, Merged, Names, Scope};
use super::node::{Entry, Kind, Node, Time};
use super::source::{Located, Xattrs};
use crate::format::whiteout;
use crate::marks::LowerMarks;
use crate::oci::digest::DiffId;

/// How file data is moved.
const BUFFER: usize = 256 * 1024;

/// The choices of a packing.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// Later modification times become this one, in seconds since the epoch (`SOURCE_DATE_EPOCH`).
    pub latest_mtime: Option<i64>,
    /// The union's work directory. Its index names the lower files that were changed under one of their
    /// several names; without it the others keep their old content in the layer.
    pub work: Option<PathBuf>,
    /// What to do about a file that is written while it is read.
    pub if_written: IfWritten,
}

/// What becomes of a packing when a file is written while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfWritten {
    /// The file is taken as it was read, as long as it does not shrink.
    #[default]
    GoOn,
    /// The packing fails.
    Fail,
}

/// A layer that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The tar's length in bytes.
    pub size: u64,
    /// The number of entries, whiteouts and opaque marks among them.
    pub entries: u64,
}

/// Writes the layer that `upper` is over `lowers` (top first) to `out`, as an uncompressed tar. Sockets are
/// left out with a warning. Equal layers give equal bytes.
///
/// # Errors
/// Those of reading a layer; [`LayerError::DataMissing`] where a file's data should lie in a lower that was
/// not given; [`LayerError::Changed`] where a file shrank meanwhile, or was written (see [`IfWritten`]); [`LayerError::Write`]. What has been
/// written by then is no layer.
pub fn pack(
    upper: &Path,
    lowers: &[PathBuf],
    options: &PackOptions,
    out: impl Write,
) -> Result<Packed, LayerError> {
    let (merged, scope) = Merged::open(upper, lowers, LowerMarks::ByAuthor)?;
    let aliases = match &options.work {
        Some(work) => Aliases::find(work, &merged)?,
        None => Aliases::default(),
    };
    let mut packer = Packer::new(out, options, aliases);
    if scope == Scope::Whole {
        packer.write_marker(OsStr::new(whiteout::OPAQUE_FILE))?;
    }
    packer.visit(&merged, scope)?;
    packer.finish()
}

/// [`pack`] into the file `path`, which appears only once it is complete and on disk: it is written under a
/// temporary name in the same directory and renamed, replacing a file of that name.
///
/// # Errors
/// Those of [`pack`], and [`LayerError::Output`]. Nothing is left behind then.
pub fn pack_to_file(
    upper: &Path,
    lowers: &[PathBuf],
    options: &PackOptions,
    path: &Path,
) -> Result<Packed, LayerError> {
    let mut pending = Pending::create(path)?;
    let packed = pack(upper, lowers, options, pending.file())?;
    pending.publish()?;
    Ok(packed)
}

/// The walk over the upper.
struct Packer<'a, W: Write> {
    out: Digesting<W>,
    options: &'a PackOptions,
    aliases: Aliases,
    /// The first path of each file with several links, by device and inode number.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    /// The directory being visited, with a slash at the end; empty for the root.
    path: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Packer<'a, W> {
    fn new(out: W, options: &'a PackOptions, aliases: Aliases) -> Packer<'a, W> {
        Packer {
            out: Digesting::new(out),
            options,
            aliases,
            links: HashMap::new(),
            entries: 0,
            path: Vec::new(),
            buffer: vec![0; BUFFER],
        }
    }
}

impl<W: Write> Packer<'_, W> {
    /// Writes a directory's content.
    fn visit(&mut self, merged: &Merged, scope: Scope) -> Result<(), LayerError> {
        let mut names = self.write_whiteouts(merged, scope)?;
        for name in self.aliases.names_below(&self.path) {
            names.entry(name).or_insert(None);
        }
        for (name, upper) in names {
            if let Some(child) = merged.child(&name, upper)? {
                self.write_child(&name, child, merged, scope)?;
            }
        }
        Ok(())
    }

    /// Writes a directory's whiteouts and returns the names it has. Where nothing shows from below there is
    /// nothing to white out, and all that shows counts.
    fn write_whiteouts(&mut self, merged: &Merged, scope: Scope) -> Result<Names, LayerError> {
        if scope == Scope::Whole {
            return merged.names();
        }
        let entries = merged.upper_entries()?;
        for (name, _) in entries.iter().filter(|(_, entry)| **entry == Entry::Whiteout) {
            self.write_marker(&whiteout::file_name(name))?;
        }
        let nodes = entries.into_iter().filter_map(|(name, entry)| match entry {
            Entry::Node(node) => Some((name, Some(node))),
            Entry::Whiteout => None,
        });
        Ok(nodes.collect())
    }

    /// Writes a file, or a directory with its content.
    fn write_child(
        &mut self,
        name: &OsStr,
        child: Child,
        parent: &Merged,
        parent_scope: Scope,
    ) -> Result<(), LayerError> {
        let path = [&self.path, name.as_bytes()].concat();
        match child {
            Child::File(lookup) => {
                let alias = self.aliases.get(&path).cloned();
                self.write_file(path, &alias.unwrap_or(lookup))
            }
            Child::Dir(place, merged, scope) => {
                let replaces = parent_scope == Scope::Delta && scope == Scope::Whole;
                let marked = replaces && (is_opaque(&merged) || hides_directory(parent, name)?);
                let scope = scope.within(parent_scope);
                self.write_dir(path, &place, marked.then(|| OsStr::new(whiteout::OPAQUE_FILE)))?;
                let length = self.path.len();
                self.path.extend_from_slice(name.as_bytes());
                self.path.push(b'/');
                self.visit(&merged, scope)?;
                self.path.truncate(length);
                Ok(())
            }
        }
    }

    /// Writes a directory's own entry, then its marker.
    fn write_dir(
        &mut self,
        path: Vec<u8>,
        place: &Located,
        marker: Option<&OsStr>,
    ) -> Result<(), LayerError> {
        let path = [&path, &b"/"[..]].concat();
        let header = self.header(path.clone(), EntryType::Dir, place)?;
        self.write_header(&header)?;
        match marker {
            Some(marker) => self.write_empty([&path, marker.as_bytes()].concat()),
            None => Ok(()),
        }
    }

    /// Writes anything but a directory; its second and later names as hard links to the first.
    fn write_file(&mut self, path: Vec<u8>, lookup: &Lookup) -> Result<(), LayerError> {
        let node = &lookup.file.node;
        let Some(entry_type) = entry_type(node.kind) else {
            log::warn!("{}: a layer cannot hold a socket; left out", lookup.file.path().display());
            return Ok(());
        };
        if node.kind == Kind::Char(0, 0) {
            log::warn!(
                "{}: other programs will take this device for a whiteout",
                lookup.file.path().display()
            );
        }
        if node.nlink > 1 {
            if let Some(first) = self.links.get(&node.inode) {
                let link = first.clone();
                let header = Header {
                    link,
                    xattrs: Vec::new(),
                    ..self.header(path, EntryType::HardLink, &lookup.file)?
                };
                return self.write_header(&header);
            }
            self.links.insert(node.inode, path.clone());
        }
        let mut header = self.header(path, entry_type, &lookup.file)?;
        match node.kind {
            Kind::File => return self.write_data(header, lookup),
            Kind::Symlink => header.link = lookup.file.link_target()?,
            Kind::Block(major, minor) | Kind::Char(major, minor) => header.device = (major, minor),
            Kind::Dir | Kind::Pipe | Kind::Socket => {}
        }
        self.write_header(&header)
    }

    /// Writes a regular file with its data.
    fn write_data(&mut self, mut header: Header, lookup: &Lookup) -> Result<(), LayerError> {
        let Some(place) = &lookup.data else {
            return Err(LayerError::DataMissing { path: lookup.file.path() });
        };
        let (mut file, state) = place.dir.open_file(&place.name)?;
        let size = state.size;
        header.size = size;
        self.write_header(&header)?;
        let mut left = size;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match file.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(LayerError::Changed { path: place.path() }),
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(place.read_error(&e)),
            };
            self.out.write_all(&self.buffer[..read]).map_err(LayerError::Write)?;
            left -= read as u64;
        }
        if self.options.if_written == IfWritten::Fail && place.state(&file)? != state {
            return Err(LayerError::Changed { path: place.path() });
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.out.write_all(&[0; BLOCK][..padding as usize]).map_err(LayerError::Write)
    }

    /// Writes a whiteout or an opaque mark in the directory being visited.
    fn write_marker(&mut self, name: &OsStr) -> Result<(), LayerError> {
        self.write_empty([&self.path, name.as_bytes()].concat())
    }

    /// Writes an empty file that belongs to nobody and to no time.
    fn write_empty(&mut self, path: Vec<u8>) -> Result<(), LayerError> {
        self.write_header(&Header {
            path,
            entry_type: EntryType::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time { seconds: 0, nanos: 0 },
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        })
    }

    /// A file's header, without what only some types have.
    fn header(&self, path: Vec<u8>, entry_type: EntryType, place: &Located) -> Result<Header, LayerError> {
        let Node { mode, uid, gid, mtime, .. } = place.node;
        let latest = self.options.latest_mtime.map(|seconds| Time { seconds, nanos: 0 });
        let mtime = latest.map_or(mtime, |latest| latest.min(mtime));
        let (link, device, xattrs) = (Vec::new(), (0, 0), portable_xattrs(place)?);
        Ok(Header { path, entry_type, mode, uid, gid, size: 0, mtime, link, device, xattrs })
    }

    fn write_header(&mut self, header: &Header) -> Result<(), LayerError> {
        self.entries += 1;
        header.encode().and_then(|blocks| self.out.write_all(&blocks)).map_err(LayerError::Write)
    }

    /// Ends the tar.
    fn finish(mut self) -> Result<Packed, LayerError> {
        self.out.write_all(&[0; 2 * BLOCK]).map_err(LayerError::Write)?;
        let (digest, size) = self.out.finish().map_err(LayerError::Write)?;
        Ok(Packed { diff_id: DiffId::new(digest), size, entries: self.entries })
    }
}

/// Whether the directory's upper part is marked opaque.
fn is_opaque(merged: &Merged) -> bool {
    merged.upper.as_ref().is_some_and(|upper| upper.is_opaque())
}

/// Whether the lowers have a directory at `name`, which must not show through.
fn hides_directory(parent: &Merged, name: &OsStr) -> Result<bool, LayerError> {
    Ok(matches!(parent.lower.lookup(name)?, Lower::Dir(..)))
}

/// How a file of this kind is told in a tar, if it can be.
fn entry_type(kind: Kind) -> Option<EntryType> {
    match kind {
        Kind::File => Some(EntryType::File),
        Kind::Dir => Some(EntryType::Dir),
        Kind::Symlink => Some(EntryType::Symlink),
        Kind::Pipe => Some(EntryType::Pipe),
        Kind::Socket => None,
        Kind::Block(..) => Some(EntryType::Block),
        Kind::Char(..) => Some(EntryType::Char),
    }
}

/// The attributes that a PAX record can hold.
fn portable_xattrs(place: &Located) -> Result<Xattrs, LayerError> {
    let mut xattrs = place.xattrs()?;
    xattrs.retain(|(name, _)| {
        let fits = !name.as_bytes().contains(&b'=');
        if !fits {
            log::warn!(
                "{}: attribute {name:?} left out: a tar cannot hold this name",
                place.path().display()
            );
        }
        fits
    });
    Ok(xattrs)
}
