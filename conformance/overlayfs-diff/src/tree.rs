//! What can be seen of a file or of a whole tree, in a form that can be compared.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{self, Errno};

use crate::known::{self, Fact};

/// A modification time: the exact one where somebody set it, else only that it is of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mtime {
    /// Not older than the sequence.
    Now,
    /// Set by hand, or from a lower layer.
    At(i64, i64),
}

/// The attributes that both file systems must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub kind: FileType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Regular files and symbolic links.
    pub size: Option<i64>,
    /// Everything but directories.
    pub nlink: Option<u64>,
    pub rdev: Option<u64>,
    pub mtime: Mtime,
}

impl Attributes {
    /// Whether these, of the reference, allow those of the other side; see [`known::mtimes_agree`].
    pub fn agree_with(&self, other: &Self) -> bool {
        let same_time = Self { mtime: other.mtime, ..self.clone() };
        same_time == *other && known::mtimes_agree(self.kind, self.mtime, other.mtime)
    }

    /// From what stat(2) says; `started` separates the times of this run from the others.
    pub fn of(stat: &Stat, started: i64) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mtime = (stat.st_mtime as i64, stat.st_mtime_nsec as i64);
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: matches!(kind, FileType::RegularFile | FileType::Symlink).then_some(stat.st_size),
            nlink: known::compared(Fact::Nlink, kind).then_some(stat.st_nlink as u64),
            rdev: matches!(kind, FileType::CharacterDevice | FileType::BlockDevice).then_some(stat.st_rdev),
            // Years beyond this one are set by hand too.
            mtime: if mtime.0 >= started && mtime.0 < started + 86_400 {
                Mtime::Now
            } else {
                Mtime::At(mtime.0, mtime.1)
            },
        }
    }
}

/// Extended attributes by name.
pub type Xattrs = BTreeMap<OsString, Vec<u8>>;

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub attributes: Attributes,
    /// Length and hash of a regular file, the target of a link.
    pub content: Option<String>,
    pub xattrs: Xattrs,
    /// The first path of the tree that is the same file, where that is another one.
    pub same_file_as: Option<String>,
    /// Set where the type in the listing is not the one stat shows, or the name cannot be looked up.
    pub oddity: Option<String>,
}

/// A whole tree by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree(pub BTreeMap<String, Node>);

impl Tree {
    /// Reads everything at and below `root`, as the caller, who should be root.
    pub fn read(root: &Path, started: i64) -> Self {
        let mut tree = Self::default();
        let mut first_paths = HashMap::new();
        tree.add(root, ".".to_owned(), None, started, &mut first_paths);
        tree
    }

    fn add(
        &mut self,
        root: &Path,
        path: String,
        listed: Option<FileType>,
        started: i64,
        first_paths: &mut HashMap<(u64, u64), String>,
    ) {
        let full = root.join(&path);
        let stat = match fs::statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => {
                self.0.insert(path, Node::unreadable(listed, format!("listed, but lstat says {error:?}")));
                return;
            }
        };
        let attributes = Attributes::of(&stat, started);
        let kind = attributes.kind;
        let oddity = listed
            .filter(|&listed| listed != kind && listed != FileType::Unknown)
            .map(|listed| format!("listed as {listed:?}, but is {kind:?}"));
        let same_file_as = (kind != FileType::Directory)
            .then(|| first_paths.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone()).clone())
            .filter(|first| *first != path);
        let content = match kind {
            FileType::RegularFile => Some(describe(read_file(&full))),
            FileType::Symlink => Some(describe_link(&full)),
            _ => None,
        };
        let xattrs = read_xattrs(&full).unwrap_or_else(|error| {
            BTreeMap::from([(OsString::from(format!("listing xattrs says {error:?}")), Vec::new())])
        });
        self.0.insert(path.clone(), Node { attributes, content, xattrs, same_file_as, oddity });
        if kind == FileType::Directory {
            match list(&full) {
                Ok(entries) => {
                    for (name, listed) in entries {
                        let child = if path == "." { name } else { format!("{path}/{name}") };
                        if self.0.contains_key(&child) {
                            self.note(&child, "listed twice".to_owned());
                            continue;
                        }
                        self.add(root, child, Some(listed), started, first_paths);
                    }
                }
                Err(error) => self.note(&path, format!("listing says {error:?}")),
            }
        }
    }

    fn note(&mut self, path: &str, oddity: String) {
        if let Some(node) = self.0.get_mut(path) {
            node.oddity = Some(oddity);
        }
    }

    /// The differences as text, at most `limit`; empty where the trees agree. `self` is the reference.
    pub fn differences(&self, other: &Self, limit: usize) -> Vec<String> {
        let mut found = Vec::new();
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        for path in paths {
            match (self.0.get(path), other.0.get(path)) {
                (Some(a), Some(b)) if a.agrees_with(b) => {}
                (Some(a), Some(b)) => found.push(format!("{path}: {}", a.difference(b))),
                (Some(a), None) => found.push(format!("{path}: {a} <> not there")),
                (None, Some(b)) => found.push(format!("{path}: not there <> {b}")),
                (None, None) => {}
            }
            if found.len() >= limit {
                break;
            }
        }
        found
    }
}

impl Node {
    fn agrees_with(&self, other: &Self) -> bool {
        let same_attributes = Self { attributes: other.attributes.clone(), ..self.clone() };
        same_attributes == *other && self.attributes.agree_with(&other.attributes)
    }

    fn unreadable(listed: Option<FileType>, oddity: String) -> Self {
        Self {
            attributes: Attributes {
                kind: listed.unwrap_or(FileType::Unknown),
                mode: 0,
                uid: 0,
                gid: 0,
                size: None,
                nlink: None,
                rdev: None,
                mtime: Mtime::Now,
            },
            content: None,
            xattrs: Xattrs::new(),
            same_file_as: None,
            oddity: Some(oddity),
        }
    }

    /// The fields that differ, as `field: here <> there`.
    fn difference(&self, other: &Self) -> String {
        let (a, b) = (&self.attributes, &other.attributes);
        let fields = [
            ("type", format!("{:?}", a.kind), format!("{:?}", b.kind)),
            ("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode)),
            ("owner", format!("{}:{}", a.uid, a.gid), format!("{}:{}", b.uid, b.gid)),
            ("size", format!("{:?}", a.size), format!("{:?}", b.size)),
            ("nlink", format!("{:?}", a.nlink), format!("{:?}", b.nlink)),
            ("rdev", format!("{:?}", a.rdev), format!("{:?}", b.rdev)),
            ("mtime", format!("{:?}", a.mtime), format!("{:?}", b.mtime)),
            ("content", format!("{:?}", self.content), format!("{:?}", other.content)),
            ("xattrs", format!("{:?}", self.xattrs), format!("{:?}", other.xattrs)),
            ("same file as", format!("{:?}", self.same_file_as), format!("{:?}", other.same_file_as)),
            ("oddity", format!("{:?}", self.oddity), format!("{:?}", other.oddity)),
        ];
        let differing: Vec<_> = fields
            .iter()
            .filter(|(_, here, there)| here != there)
            .map(|(name, here, there)| format!("{name}: {here} <> {there}"))
            .collect();
        differing.join("; ")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = &self.attributes;
        write!(f, "{:?} {:04o} {}:{} size {:?}", a.kind, a.mode, a.uid, a.gid, a.size)?;
        match &self.oddity {
            Some(oddity) => write!(f, " ({oddity})"),
            None => Ok(()),
        }
    }
}

/// The whole content of a file.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Errno> {
    let file = fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    read_all(&file)
}

/// The whole content of an open file, from its beginning.
pub fn read_all(file: &impl std::os::fd::AsFd) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        match io::pread(file, &mut buffer, content.len() as u64)? {
            0 => return Ok(content),
            n => content.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A content in short: its length, a hash, and where the data begins.
pub fn describe(content: Result<Vec<u8>, Errno>) -> String {
    match content {
        Ok(bytes) => {
            let mut hasher = DefaultHasher::new();
            hasher.write(&bytes);
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            format!("{} bytes, hash {:016x}, {zeros} zeros first", bytes.len(), hasher.finish())
        }
        Err(error) => format!("reading says {error:?}"),
    }
}

fn describe_link(path: &Path) -> String {
    match fs::readlinkat(CWD, path, Vec::new()) {
        Ok(target) => target.to_string_lossy().into_owned(),
        Err(error) => format!("readlink says {error:?}"),
    }
}

/// The names in a directory with the types the listing gives, sorted; `.` and `..` left out.
pub fn list(path: &Path) -> Result<Vec<(String, FileType)>, Errno> {
    let directory = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut entries = Vec::new();
    for entry in fs::Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            entries.push((name, entry.file_type()));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// All extended attributes but those `known` leaves out.
pub fn read_xattrs(path: &Path) -> Result<Xattrs, Errno> {
    collect_xattrs(|buffer| fs::llistxattr(path, buffer), |name, buffer| fs::lgetxattr(path, name, buffer))
}

/// The same of an open file.
pub fn read_xattrs_of(file: &std::os::fd::OwnedFd) -> Result<Xattrs, Errno> {
    collect_xattrs(|buffer| fs::flistxattr(file, buffer), |name, buffer| fs::fgetxattr(file, name, buffer))
}

fn collect_xattrs(
    list: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&std::ffi::OsStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, Errno> {
    let mut names = vec![0; 65536];
    let length = list(names.as_mut_slice())?;
    let mut found = Xattrs::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::ffi::OsStr::from_bytes(name);
        if !known::compared_xattr(name.as_bytes()) {
            continue;
        }
        let mut value = vec![0; 65536];
        let value = match get(name, value.as_mut_slice()) {
            Ok(length) => value[..length].to_vec(),
            Err(error) => format!("listed, but reading says {error:?}").into_bytes(),
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}
