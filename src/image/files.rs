//! The files of an image as its layers show them, without a mount. Symbolic links are followed inside the image:
//! absolute ones begin at its root, and `..` at the root leads to the root.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::layer::LayerError;
use crate::layer::lowers::{Lower, Stack};
use crate::layer::node::{Entry, Kind, Node};
use crate::layer::source::{Dir, Located};

use super::structure_test::{FileFact, Files};

/// How many links are followed on one path (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The longest path, with the links on it.
const MAX_COMPONENTS: usize = 4096;
/// The longest file that is read whole.
const MAX_CONTENT: u64 = 64 << 20;

/// The files of an image.
#[derive(Debug)]
pub struct LayerFiles {
    root: Stack,
    /// The root directory as the top layer has it.
    root_node: Option<Node>,
}

/// Why a file cannot be looked up or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// There is no such file.
    #[error("there is no such file in the image")]
    NoFile,
    /// It is no regular file.
    #[error("it is no regular file")]
    NotRegular,
    /// Its data lies in a layer that does not have it.
    #[error("its data is in no layer of the image")]
    DataMissing,
    /// Links lead to links without an end.
    #[error("too many symbolic links on the way")]
    Links,
    /// It is too long to be compared.
    #[error("it is longer than {} MiB", MAX_CONTENT >> 20)]
    TooLarge,
}

/// What is at a path.
enum Found {
    Nothing,
    Dir(Option<Node>),
    File(Box<Located>, Option<Box<Located>>),
}

impl LayerFiles {
    /// Opens the layers, given top first.
    ///
    /// # Errors
    /// A layer cannot be read.
    pub fn open(layers: &[PathBuf]) -> Result<LayerFiles, LayerError> {
        // A directory calls itself `.`.
        let own = layers.first().map(|top| Dir::open_lower(top)?.find(OsStr::new("."))).transpose()?;
        let root_node = match own.flatten() {
            Some(Entry::Node(node)) => Some(node),
            Some(Entry::Whiteout) | None => None,
        };
        Ok(LayerFiles { root: Stack::open(layers)?, root_node })
    }

    /// Goes along `path`, all links followed but a last one that leads nowhere.
    fn find(&self, path: &[u8]) -> Result<Found, FilesError> {
        let mut way = Way { files: self, above: Vec::new(), rest: VecDeque::new(), links: 0 };
        way.prepend(path)?;
        let mut dangling = None;
        loop {
            let Some(name) = way.rest.pop_front() else { return Ok(way.here()) };
            match way.step(&name)? {
                Next::GoOn => {}
                Next::Nothing => {
                    let link = dangling.map(|link| Found::File(Box::new(link), None));
                    return Ok(link.unwrap_or(Found::Nothing));
                }
                Next::File(file, data) => {
                    return Ok(Found::File(Box::new(file), data.map(Box::new)));
                }
                Next::Link(link) => {
                    if way.rest.is_empty() && dangling.is_none() {
                        dangling = Some(link.clone());
                    }
                    way.follow(&link)?;
                }
            }
        }
    }
}

/// A path on its way.
struct Way<'a> {
    files: &'a LayerFiles,
    /// The directories below the root that lead to the present one.
    above: Vec<(Located, Stack)>,
    /// What is still to be gone.
    rest: VecDeque<Vec<u8>>,
    links: usize,
}

/// What a step met.
enum Next {
    GoOn,
    Nothing,
    File(Located, Option<Located>),
    Link(Located),
}

impl Way<'_> {
    /// Puts the components of `path` before the rest.
    fn prepend(&mut self, path: &[u8]) -> Result<(), FilesError> {
        if path.first() == Some(&b'/') {
            self.above.clear();
        }
        for name in path.split(|byte| *byte == b'/').rev().filter(|name| !name.is_empty()) {
            self.rest.push_front(name.to_vec());
        }
        if self.rest.len() > MAX_COMPONENTS { Err(FilesError::Links) } else { Ok(()) }
    }

    fn step(&mut self, name: &[u8]) -> Result<Next, FilesError> {
        match name {
            b"." => return Ok(Next::GoOn),
            b".." => {
                self.above.pop();
                return Ok(Next::GoOn);
            }
            _ => {}
        }
        let stack = self.above.last().map_or(&self.files.root, |(_, stack)| stack);
        Ok(match stack.lookup(OsStr::from_bytes(name))? {
            Lower::Absent => Next::Nothing,
            Lower::Dir(place, stack) => {
                self.above.push((place, stack));
                Next::GoOn
            }
            Lower::File(lookup) if lookup.file.node.kind == Kind::Symlink => Next::Link(lookup.file),
            Lower::File(lookup) if self.rest.is_empty() => Next::File(lookup.file, lookup.data),
            // A file is no directory to go on from.
            Lower::File(_) => Next::Nothing,
        })
    }

    fn follow(&mut self, link: &Located) -> Result<(), FilesError> {
        self.links = self.links.saturating_add(1);
        if self.links > MAX_LINKS {
            return Err(FilesError::Links);
        }
        self.prepend(&link.link_target()?)
    }

    /// The directory that was reached.
    fn here(&self) -> Found {
        match self.above.last() {
            Some((place, _)) => Found::Dir(Some(place.node.clone())),
            None => Found::Dir(self.files.root_node.clone()),
        }
    }
}

impl Files for LayerFiles {
    type Error = FilesError;

    /// A link that leads nowhere is told as it is.
    fn stat(&self, path: &[u8]) -> Result<Option<FileFact>, FilesError> {
        Ok(match self.find(path)? {
            Found::Nothing | Found::Dir(None) => None,
            Found::Dir(Some(node)) => Some(fact(&node)),
            Found::File(file, _) => Some(fact(&file.node)),
        })
    }

    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FilesError> {
        let data = match self.find(path)? {
            Found::Nothing => return Err(FilesError::NoFile),
            Found::File(file, _) if file.node.kind == Kind::Symlink => return Err(FilesError::NoFile),
            Found::File(file, data) if file.node.kind == Kind::File => data.ok_or(FilesError::DataMissing)?,
            Found::Dir(_) | Found::File(..) => return Err(FilesError::NotRegular),
        };
        let (file, state) = data.dir.open_file(&data.name)?;
        if state.size > MAX_CONTENT {
            return Err(FilesError::TooLarge);
        }
        let mut content = Vec::new();
        file.take(MAX_CONTENT).read_to_end(&mut content).map_err(|e| data.read_error(&e))?;
        Ok(content)
    }
}

/// What a test may ask. The type's bits are those of inode(7).
fn fact(node: &Node) -> FileFact {
    let kind = match node.kind {
        Kind::File => 0o100_000,
        Kind::Dir => 0o040_000,
        Kind::Symlink => 0o120_000,
        Kind::Pipe => 0o010_000,
        Kind::Socket => 0o140_000,
        Kind::Block(..) => 0o060_000,
        Kind::Char(..) => 0o020_000,
    };
    FileFact { mode: kind | node.mode, uid: node.uid, gid: node.gid }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two layers: the upper replaces `etc/f`.
    fn layers() -> (tempfile::TempDir, LayerFiles) {
        let tmp = tempfile::tempdir().expect("tmp");
        let (low, top) = (tmp.path().join("low"), tmp.path().join("top"));
        for dir in ["low/etc/deep", "low/usr/bin", "top/etc"] {
            fs::create_dir_all(tmp.path().join(dir)).expect("mkdir");
        }
        fs::write(low.join("etc/f"), "old").expect("write");
        fs::write(top.join("etc/f"), "new").expect("write");
        fs::write(low.join("usr/bin/tool"), "#!").expect("write");
        for (target, link) in [
            ("usr/bin", "bin"),
            ("/etc/f", "usr/absolute"),
            ("../../../../etc/f", "usr/up"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("dangling", "chain"),
            ("etc/f/", "slash"),
        ] {
            symlink(target, low.join(link)).expect("symlink");
        }
        let files = LayerFiles::open(&[top, low]).expect("open");
        (tmp, files)
    }

    #[test]
    fn links_are_followed_inside_the_image() {
        let (_tmp, files) = layers();
        for (path, content) in [
            ("/etc/f", "new"),
            ("etc//./f", "new"),
            ("/etc/deep/../f", "new"),
            ("/../etc/f", "new"),
            ("/bin/tool", "#!"),
            ("/usr/absolute", "new"),
            ("/usr/up", "new"),
            ("/bin/../up", "new"),
        ] {
            assert_eq!(files.read(path.as_bytes()).expect(path), content.as_bytes(), "{path}");
        }
        for path in ["/none", "/etc/f/x", "/dangling/x", "/etc/f/../f", "/etc/host"] {
            assert!(matches!(files.stat(path.as_bytes()), Ok(None)), "{path}");
        }
        assert!(matches!(files.read(b"/loop"), Err(FilesError::Links)));
        assert!(matches!(files.stat(b"/loop"), Err(FilesError::Links)));
        assert!(matches!(files.read(b"/etc"), Err(FilesError::NotRegular)));
        assert!(matches!(files.read(b"/chain"), Err(FilesError::NoFile)));
    }

    #[test]
    fn types_are_told() {
        let (_tmp, files) = layers();
        let kind = |path: &str| files.stat(path.as_bytes()).expect(path).expect(path).mode & 0o170_000;
        assert_eq!(
            (kind("/"), kind(""), kind("/bin"), kind("/bin/")),
            (0o040_000, 0o040_000, 0o040_000, 0o040_000)
        );
        assert_eq!((kind("/etc/f"), kind("/chain")), (0o100_000, 0o120_000));
    }
}
