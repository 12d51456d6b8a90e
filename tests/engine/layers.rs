//! Layer directories from a compact description, their rendering in the same form, and a checksum that tells of
//! any change.
//!
//! A description is words with spaces between them: `d/` a directory, `f` an empty file, `f=text` a file,
//! `l->target` a symbolic link, `w!` a whiteout device, `b~a` a hard link to `a`, `p|` a FIFO, `f:640` a mode,
//! `d@opaque=y` a mark of the union, `f@user.x=v` any attribute. Parents are made where they are missing.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use plyfs::sys::dir::read_all;
use plyfs::sys::fs::{self as sys, FileType, Mode, OFlags};
use plyfs::sys::xattr::{Target, getxattr, listxattr, setxattr};

/// Adds to the layer at `root` what `description` says.
pub fn build(root: &Path, description: &str) {
    for word in description.split_whitespace() {
        build_word(root, word);
    }
}

fn build_word(root: &Path, word: &str) {
    if let Some((path, mark)) = word.split_once('@') {
        let (name, value) = mark.split_once('=').unwrap_or((mark, ""));
        return set_attribute(&root.join(path), &full_name(name), value.as_bytes());
    }
    let cut = word.find(['=', '~', ':']).or_else(|| word.find("->")).unwrap_or(word.len());
    let cut = word.find("->").map_or(cut, |arrow| arrow.min(cut));
    let path = root.join(word[..cut].trim_end_matches(['!', '|', '/']));
    let rest = &word[cut..];
    fs::create_dir_all(path.parent().expect("a parent")).expect("parents");
    if let Some(content) = rest.strip_prefix('=') {
        fs::write(path, content).expect("a file");
    } else if let Some(old) = rest.strip_prefix('~') {
        fs::hard_link(root.join(old), path).expect("a hard link");
    } else if let Some(target) = rest.strip_prefix("->") {
        std::os::unix::fs::symlink(target, path).expect("a link");
    } else if let Some(mode) = rest.strip_prefix(':') {
        let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    } else if word.ends_with('!') {
        node(&path, FileType::CharacterDevice, 0);
    } else if word.ends_with('|') {
        node(&path, FileType::Fifo, 0);
    } else if word.ends_with('/') {
        fs::create_dir_all(path).expect("a directory");
    } else {
        fs::write(path, "").expect("a file");
    }
}

/// Makes a FIFO, socket or device.
pub fn node(path: &Path, file_type: FileType, device: u64) {
    sys::mknodat(sys::CWD, path, file_type, Mode::from_raw_mode(0o644), device).expect("a node");
}

/// The name space for marks that this process can write.
pub fn namespace() -> &'static str {
    if sys::geteuid().is_root() { "trusted.overlay." } else { "user.overlay." }
}

fn full_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{}{name}", namespace()) }
}

/// Sets an extended attribute, not following links.
pub fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    let fd = open_path(path);
    setxattr(Target::Fd(fd.as_fd()), name.as_ref(), value, 0).expect("an attribute");
}

/// Whether the file system of a path keeps an attribute of this name.
pub fn can_set_attribute(path: &Path, name: &str) -> bool {
    let fd = open_path(path);
    setxattr(Target::Fd(fd.as_fd()), name.as_ref(), b"1", 0).is_ok()
}

/// The value of an attribute of a real file.
pub fn attribute(path: &Path, name: &str) -> Option<String> {
    let fd = open_path(path);
    let value = getxattr(Target::Fd(fd.as_fd()), full_name(name).as_ref()).ok()?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

fn open_path(path: &Path) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(sys::CWD, path, flags, Mode::empty()).expect("opened")
}

/// The description of a layer, sorted, without modes; of its marks only `opaque` and `redirect` show.
pub fn render(root: &Path) -> Vec<String> {
    let mut words = Vec::new();
    for mark in ["opaque", "redirect"] {
        words.extend(attribute(root, mark).map(|value| format!("@{mark}={value}")));
    }
    render_below(root, "", &mut words);
    words.sort();
    words
}

fn render_below(dir: &Path, prefix: &str, words: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("listed") {
        let entry = entry.expect("an entry");
        let (real, name) = (entry.path(), entry.file_name());
        let path = format!("{prefix}{}", name.to_string_lossy());
        let meta = fs::symlink_metadata(&real).expect("there");
        let st = sys::lstatat(sys::CWD, real.as_os_str()).expect("there");
        words.push(match FileType::from_raw_mode(st.st_mode) {
            FileType::Directory => format!("{path}/"),
            FileType::Symlink => format!("{path}->{}", fs::read_link(&real).expect("a target").display()),
            FileType::Fifo => format!("{path}|"),
            FileType::CharacterDevice if st.st_rdev == 0 => format!("{path}!"),
            FileType::RegularFile => format!("{path}={}", fs::read_to_string(&real).expect("content")),
            other => format!("{path} {other:?}"),
        });
        for mark in ["opaque", "redirect", "metacopy"] {
            words.extend(attribute(&real, mark).map(|value| format!("{path}@{mark}={value}")));
        }
        if meta.is_dir() {
            render_below(&real, &format!("{path}/"), words);
        }
    }
}

/// Everything about a tree but access times, one line a file.
pub fn checksum(root: &Path) -> Vec<String> {
    let fd = sys::openat(sys::CWD, root, sys::O_DIRPATH, Mode::empty()).expect("a layer");
    let mut lines = vec![line(&fd, OsStr::new("."), "")];
    // A directory stays open only while children of it are pending, so that deep and wide trees both work.
    let mut pending = children(&Arc::new(fd), "");
    while let Some((parent, name, path)) = pending.pop() {
        lines.push(line(&parent, &name, &path));
        let st = sys::lstatat(&*parent, &name).expect("there");
        if FileType::from_raw_mode(st.st_mode) == FileType::Directory {
            let fd = sys::open_dir_path(&*parent, &name).expect("a directory");
            pending.extend(children(&Arc::new(fd), &path));
        }
    }
    lines.sort();
    lines
}

type Child = (Arc<OwnedFd>, OsString, String);

fn children(fd: &Arc<OwnedFd>, path: &str) -> Vec<Child> {
    let entries = read_all(fd.as_fd()).expect("listed");
    let child = |name: OsString| {
        let path = format!("{path}/{}", name.to_string_lossy());
        (fd.clone(), name, path)
    };
    entries.into_iter().map(|entry| child(entry.name)).collect()
}

fn line(parent: &OwnedFd, name: &OsStr, path: &str) -> String {
    let st = sys::lstatat(parent, name).expect("there");
    let target = Target::At(parent.as_fd(), name);
    let mut names = listxattr(target).expect("attributes");
    names.sort();
    let attributes: Vec<_> = names.iter().map(|n| (n, getxattr(target, n).expect("a value"))).collect();
    let content = match FileType::from_raw_mode(st.st_mode) {
        FileType::RegularFile => content_hash(parent, name),
        FileType::Symlink => sum(sys::readlinkat(parent, name, Vec::new()).expect("a target").as_bytes()),
        _ => 0,
    };
    format!(
        "{path} mode={:o} owner={}:{} links={} size={} rdev={} ino={} mtime={}.{} ctime={}.{} {attributes:?} {content:x}",
        st.st_mode,
        st.st_uid,
        st.st_gid,
        st.st_nlink,
        st.st_size,
        st.st_rdev,
        st.st_ino,
        st.st_mtime,
        st.st_mtime_nsec,
        st.st_ctime,
        st.st_ctime_nsec,
    )
}

fn content_hash(parent: &OwnedFd, name: &OsStr) -> u64 {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::File::from(sys::openat(parent, name, flags, Mode::empty()).expect("opened"));
    // A file of many holes is told by its first part.
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, 1 << 20), &mut bytes).expect("read");
    sum(&bytes)
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
