//! Random lower layers: nested directories, files of many sizes, links of both kinds, fifos, extended attributes,
//! and in the upper one of the two also whiteouts and opaque directories.

use std::path::{Path, PathBuf};

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Few names, so that layers and operations meet.
pub const NAMES: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];
/// Modes of directories, the first ones more often.
pub const DIRECTORY_MODES: &[u32] = &[0o755, 0o755, 0o777, 0o777, 0o700, 0o2775, 0o1777, 0o555];
/// Modes of other files.
pub const FILE_MODES: &[u32] = &[0o644, 0o644, 0o600, 0o666, 0o755, 0o4755, 0o2755, 0o444, 0o000];
/// Owners, each also as a group; the second one is also an actor.
pub const OWNERS: &[u32] = &[0, 1000, 1000, 65534];

/// What a directory that is being made will be merged with.
#[derive(Debug, Clone, Copy)]
enum Below<'a> {
    /// Nothing: this is the bottom layer, or the directory is opaque, or new in its layer. No whiteout is made in it:
    /// the kernel's overlayfs lists those (and then denies them), as no overlay would have written them there.
    Nothing,
    /// The directory of the bottom layer.
    Directory(&'a Path),
}

/// Fills an empty directory; `bottom` is the layer that will lie below it, if any. With `links`, some files get several
/// names.
pub fn fill(root: &Path, bottom: Option<&Path>, links: bool, rng: &mut ChaCha8Rng) -> Result<(), Errno> {
    let mut linkable = links.then(Vec::new);
    fill_directory(root, bottom.map_or(Below::Nothing, Below::Directory), 0, rng, &mut linkable)?;
    let mode = if rng.random_bool(0.5) { 0o755 } else { 0o777 };
    fs::chmodat(CWD, root, Mode::from_raw_mode(mode), AtFlags::empty())?;
    set_time(root, rng)
}

impl Below<'_> {
    /// The directory of this name in the bottom layer, if there is one.
    fn child_directory(self, name: &str) -> Option<PathBuf> {
        let Self::Directory(directory) = self else { return None };
        Some(directory.join(name)).filter(|path| path.is_dir() && !path.is_symlink())
    }
}

fn fill_directory(
    directory: &Path,
    below: Below<'_>,
    depth: usize,
    rng: &mut ChaCha8Rng,
    linkable: &mut Option<Vec<PathBuf>>,
) -> Result<(), Errno> {
    for name in NAMES {
        if !rng.random_bool(if depth == 0 { 0.8 } else { 0.5 }) {
            continue;
        }
        let path = directory.join(name);
        match rng.random_range(0..100) {
            0..40 if depth < 3 => {
                fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o755))?;
                let counterpart = below.child_directory(name);
                let opaque = counterpart.is_some() && rng.random_bool(0.25);
                let child =
                    counterpart.as_deref().filter(|_| !opaque).map_or(Below::Nothing, Below::Directory);
                fill_directory(&path, child, depth + 1, rng, linkable)?;
                if opaque {
                    fs::setxattr(&path, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
                }
                dress(&path, DIRECTORY_MODES, rng)?;
            }
            40..50 if matches!(below, Below::Directory(_)) => {
                fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)?;
            }
            50..60 => {
                let target = ["a", "b/c", "../d", "missing", "/etc/hostname", "."];
                fs::symlinkat(target[rng.random_range(0..target.len())], CWD, &path)?;
                own(&path, rng)?;
                set_time(&path, rng)?;
            }
            60..64 => {
                fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?;
                dress(&path, FILE_MODES, rng)?;
            }
            64..72 if linkable.as_ref().is_some_and(|files| !files.is_empty()) => {
                let first =
                    linkable.as_ref().and_then(|files| files.choose(rng)).cloned().unwrap_or_default();
                fs::linkat(CWD, &first, CWD, &path, AtFlags::empty())?;
            }
            _ => {
                write_file(&path, rng)?;
                dress(&path, FILE_MODES, rng)?;
                if let Some(files) = linkable {
                    files.push(path);
                }
            }
        }
    }
    // Filling it has moved its time.
    if depth > 0 { set_time(directory, rng) } else { Ok(()) }
}

fn write_file(path: &Path, rng: &mut ChaCha8Rng) -> Result<(), Errno> {
    let file = fs::open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))?;
    let size = match rng.random_range(0..10) {
        0..2 => 0,
        2..5 => rng.random_range(1..200),
        5..8 => rng.random_range(4000..4200),
        8 => rng.random_range(1..40_000),
        _ => rng.random_range(100_000..300_000),
    };
    let mut content = vec![0; size];
    rng.fill(content.as_mut_slice());
    // Now and then a hole before the data.
    let offset = if rng.random_bool(0.1) { 65_536 } else { 0 };
    rustix::io::pwrite(&file, &content, offset).map(|_| ())
}

/// Owner, extended attributes, mode and time, in the order in which none undoes another.
fn dress(path: &Path, modes: &[u32], rng: &mut ChaCha8Rng) -> Result<(), Errno> {
    own(path, rng)?;
    let kind = FileType::from_raw_mode(fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
    if rng.random_bool(0.3) && kind != FileType::Fifo {
        for name in ["user.one", "user.two"] {
            let value: [u8; 5] = rng.random();
            fs::lsetxattr(path, name, &value, XattrFlags::empty())?;
        }
    }
    fs::chmodat(CWD, path, Mode::from_raw_mode(*modes.choose(rng).unwrap_or(&0o755)), AtFlags::empty())?;
    set_time(path, rng)
}

fn own(path: &Path, rng: &mut ChaCha8Rng) -> Result<(), Errno> {
    let mut owner = || OWNERS.choose(rng).copied().unwrap_or(0);
    let (uid, gid) = (Uid::from_raw(owner()), Gid::from_raw(owner()));
    fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn set_time(path: &Path, rng: &mut ChaCha8Rng) -> Result<(), Errno> {
    let time =
        Timespec { tv_sec: rng.random_range(0..1_500_000_000), tv_nsec: rng.random_range(0..1_000_000_000) };
    let times = Timestamps { last_access: time, last_modification: time };
    fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}
