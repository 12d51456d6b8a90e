//! A layer's tar as a directory, in the form in which the mount reads it. The tar is taken to be hostile.
//!
//! What is deleted from lower layers becomes a character device 0:0, what replaces a whole directory an opaque
//! mark, whatever their place in the tar. Nothing outside the target is written, or read but for the lowers.

mod dress;
mod entries;
mod error;
mod header;
mod make;
mod options;
mod path;
mod pax;
mod stream;
mod tree;
mod walk;

use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use self::entries::{Attributes, Entries, Entry, EntryKind};
use self::error::Fault;
pub use self::error::{EntryName, Refusal, UnpackError};
pub use self::options::{Limits, Ownership, UnpackOptions};
use self::path::Meaning;
use self::stream::Stream;
use self::tree::Tree;
use self::walk::Missing;
use super::LayerError;
use super::node;
use super::source::Dir;
use crate::oci::digest::DiffId;
use crate::sys::Errno;
use crate::sys::process::raise_nofile_limit;
use crate::sys::xattr::{Target, getxattr_opt};

/// A layer that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the tar stream, to its very end.
    pub diff_id: DiffId,
    /// The stream's length in bytes.
    pub size: u64,
    /// The number of entries, whiteouts and opaque marks among them.
    pub entries: u64,
}

/// Unpacks the uncompressed `tar` into `target`, an existing empty directory that nobody else uses meanwhile,
/// over `lowers` (top first). These are read where the layer leaves something to them (parents that it does
/// not list, hard links to their files), and never changed.
///
/// A path that comes twice is replaced; a directory over a directory only gets other attributes. Overlay's
/// private attributes are left out with a warning, those the target cannot hold or a layer should not carry
/// without one. Nothing is synchronised to disk. Raises the limit of open files.
///
/// # Errors
/// [`UnpackError`]. What is in the target then is part of a layer, and to be thrown away.
pub fn unpack(
    tar: impl Read,
    target: &Path,
    lowers: &[PathBuf],
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    raise_nofile_limit();
    let stream = Stream::new(tar, options.limits.total_bytes)?;
    let mut entries = Entries::new(stream, &options.limits);
    let mut tree = Tree::open(target, lowers, options)?;
    prepare_root(&mut tree).map_err(|fault| fault.at(b"/"))?;
    while let Some(entry) = entries.next()? {
        apply(&mut tree, &entry, &mut entries).map_err(|fault| fault.at(&entry.name))?;
    }
    tree.finish()?;
    let count = entries.count();
    let (digest, size) = entries.stream.finish()?;
    Ok(Unpacked { diff_id: DiffId::new(digest), size, entries: count })
}

/// Makes the root what it is in the lowers: the layer may not list it.
fn prepare_root(tree: &mut Tree<'_>) -> Result<(), Fault> {
    let attributes = match tree.top_lower() {
        Some(path) => root_attributes(path)?,
        None => walk::unknown(),
    };
    dress::remove_default_acl(tree.root.as_fd())?;
    tree.dress_root(&attributes)
}

/// The attributes of a lower's root.
fn root_attributes(path: &Path) -> Result<Attributes, Fault> {
    let system = |source| LayerError::System { path: path.to_owned(), action: "read", source };
    let root = Dir::open_lower(path)?;
    let node::Entry::Node(node) = root.root_node()? else { return Err(system(Errno::NOTDIR).into()) };
    let mut xattrs = Vec::with_capacity(node.xattrs.len());
    for name in node.xattrs {
        let value = getxattr_opt(Target::Open(root.fd()), &name).map_err(system)?;
        xattrs.extend(value.map(|value| (name, value)));
    }
    Ok(Attributes { uid: node.uid, gid: node.gid, mode: node.mode, mtime: node.mtime, xattrs })
}

/// Does what one entry asks for.
fn apply<R: Read>(tree: &mut Tree<'_>, entry: &Entry, entries: &mut Entries<'_, R>) -> Result<(), Fault> {
    match path::meaning(&entry.name)? {
        Meaning::Nothing => Ok(()),
        Meaning::Root if entry.kind == EntryKind::Dir => {
            dress::undress(tree.root.as_fd())?;
            tree.dress_root(&entry.attributes)
        }
        Meaning::Root => Err(Refusal::RootType.into()),
        Meaning::Whiteout(..) | Meaning::Opaque(_) if entry.kind == EntryKind::Dir => {
            Err(Refusal::BadWhiteout.into())
        }
        Meaning::Whiteout(dir, name) => {
            let spot = tree.walk(&dir, Missing::Make)?;
            tree.whiteout(&spot, name)
        }
        Meaning::Opaque(dir) => {
            let spot = tree.walk(&dir, Missing::Make)?;
            spot.dir.map_or(Ok(()), |dir| tree.mark_opaque(&dir))
        }
        Meaning::File(dir, name) => {
            tree.check_depth(dir.len() + 1)?;
            let spot = tree.walk(&dir, Missing::Make)?;
            // Links of lower layers may have led deeper.
            tree.check_depth(spot.path.split(|byte| *byte == b'/').filter(|c| !c.is_empty()).count() + 1)?;
            match entry.kind {
                EntryKind::HardLink => tree.hard_link(&spot, name, &entry.link),
                kind => tree.make(&spot, name, kind, &entry.link, &entry.attributes, entries),
            }
        }
    }
}
