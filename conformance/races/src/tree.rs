//! Files that tell who they are: each has a number, which every 16 bytes of it, its size, an attribute and its
//! modification time repeat.
//!
//! A set of files is a directory with pairs: a0 and c0, a1 and c1 … At first a of pair P is number 2P, c is 2P+1; their
//! names may be exchanged later. Which file a descriptor leads to is known by its inode number, which stays.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::sys::{self, Fault, Result};

/// One piece of content.
pub const RECORD: usize = 16;
/// Files that are read by O_DIRECT: two of the requests that must go around what is kept.
pub const LARGE: u64 = 512 * 1024;

/// What a file of this number looks like now.
#[derive(Debug, Clone, Copy)]
pub struct State {
    pub size: u64,
    /// How much of it is content; the rest reads as zeros.
    pub filled: u64,
    pub mode: u32,
    /// None: not compared.
    pub mtime: Option<i64>,
    pub stamped: bool,
    /// What the first record counts.
    pub sequence: u32,
}

/// How a set was made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub pairs: usize,
    pub large: bool,
    pub kind: Kind,
}

/// What the names of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Files,
    /// Each a has a second name, h.
    Linked,
    Symlinks,
    Directories,
}

/// A set of pairs and what is known of it.
pub struct Set {
    pub directory: PathBuf,
    pub shape: Shape,
    numbers: HashMap<u64, u32>,
    learnt: HashSet<usize>,
    pub dead: HashSet<usize>,
    states: HashMap<u32, State>,
}

pub fn record(number: u32, sequence: u32) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes.copy_from_slice(format!("{number:08x}{sequence:07x}\n").as_bytes());
    bytes
}

/// Content of a number.
pub fn content(number: u32, length: u64) -> Vec<u8> {
    record(number, 0).repeat(length as usize / RECORD)
}

/// Whose record it is; None for anything else, zeros too.
pub fn owner(bytes: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(bytes.get(..8)?).ok()?, 16).ok()
}

pub fn size_of(number: u32, large: bool) -> u64 {
    if large { LARGE + u64::from(number) * 4096 } else { 4096 + RECORD as u64 * u64::from(1 + number % 200) }
}

pub fn target_of(number: u32) -> String {
    format!("target-{number}")
}

/// Whether the bytes are all of this file; says what else is there.
pub fn all_of(number: u32, bytes: &[u8]) -> Result<()> {
    for (index, piece) in bytes.chunks(RECORD).enumerate() {
        if owner(piece) != Some(number) {
            let found = owner(piece).map_or("no content".to_owned(), |other| format!("content of {other}"));
            return Err(Fault::new(format!("file {number} shows {found} at {}", index * RECORD)));
        }
    }
    Ok(())
}

impl Shape {
    /// Makes the set.
    pub fn make(self, directory: &Path) -> std::io::Result<()> {
        fs::create_dir(directory)?;
        for number in 0..2 * self.pairs as u32 {
            let path = directory.join(format!("{}{}", if number % 2 == 0 { "a" } else { "c" }, number / 2));
            match self.kind {
                Kind::Symlinks => {
                    sys::symlink(&target_of(number), &path).map_err(|f| std::io::Error::other(f.what))?
                }
                Kind::Directories => make_directory(&path, number)?,
                Kind::Files | Kind::Linked => {
                    make_file(&path, number, self.large)?;
                    if self.kind == Kind::Linked && number % 2 == 0 {
                        fs::hard_link(&path, directory.join(format!("h{}", number / 2)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn make_directory(path: &Path, number: u32) -> std::io::Result<()> {
    fs::create_dir(path)?;
    fs::write(path.join(format!("is-{number}")), "")?;
    for n in 0..4 {
        fs::write(path.join(format!("f{n}")), content(number, 64))?;
    }
    Ok(())
}

/// A file as it looks at first.
pub fn make_file(path: &Path, number: u32, large: bool) -> std::io::Result<()> {
    fs::write(path, content(number, size_of(number, large)))?;
    let file = sys::open(path, libc::O_RDONLY).map_err(|f| std::io::Error::other(f.what))?;
    let rest = || -> Result<()> {
        sys::fchmod(&file, 0o644)?;
        sys::set_xattr(&file, "user.id", &number.to_string())?;
        sys::futimens(&file, 1_500_000_000 + i64::from(number))
    };
    rest().map_err(|f| std::io::Error::other(f.what))
}

impl Set {
    pub fn new(directory: &Path, shape: Shape) -> Self {
        Self {
            directory: directory.to_owned(),
            shape,
            numbers: HashMap::new(),
            learnt: HashSet::new(),
            dead: HashSet::new(),
            states: HashMap::new(),
        }
    }

    pub fn path(&self, letter: &str, pair: usize) -> PathBuf {
        self.directory.join(format!("{letter}{pair}"))
    }

    /// Notes which inode is which, while nothing moves. Only the first time do names tell.
    pub fn learn(&mut self, pair: usize) -> Result<()> {
        if !self.learnt.insert(pair) {
            return Ok(());
        }
        for (letter, number) in [("a", 2 * pair as u32), ("c", 2 * pair as u32 + 1)] {
            let inode = sys::stat(&self.path(letter, pair))?.st_ino;
            self.note(inode, number);
        }
        Ok(())
    }

    /// A new file of this number, as [`make_file`] makes it.
    pub fn note(&mut self, inode: u64, number: u32) {
        self.numbers.retain(|_, known| *known != number);
        self.numbers.insert(inode, number);
        self.states.remove(&number);
    }

    /// The file behind a descriptor.
    pub fn number_of(&self, found: &libc::stat) -> Result<u32> {
        self.numbers.get(&found.st_ino).copied().ok_or_else(|| Fault::new("an inode number that no file had"))
    }

    pub fn who(&self, file: &OwnedFd) -> Result<u32> {
        self.number_of(&sys::fstat(file)?)
    }

    pub fn state(&mut self, number: u32) -> &mut State {
        let size = size_of(number, self.shape.large);
        self.states.entry(number).or_insert(State {
            size,
            filled: size,
            mode: 0o644,
            mtime: Some(1_500_000_000 + i64::from(number)),
            stamped: false,
            sequence: 0,
        })
    }

    /// The attributes of an open file against what is known.
    pub fn check_stat(&mut self, file: &OwnedFd, number: u32) -> Result<()> {
        let found = sys::fstat(file)?;
        let state = *self.state(number);
        let wrong = |what: &str| Err(Fault::new(format!("file {number} has {what}")));
        match found {
            _ if self.number_of(&found)? != number => wrong("another's inode number"),
            _ if found.st_size as u64 != state.size => {
                wrong(&format!("{} bytes, not {}", found.st_size, state.size))
            }
            _ if found.st_mode & 0o7777 != state.mode => wrong(&format!("mode {:o}", found.st_mode & 0o7777)),
            _ if state.mtime.is_some_and(|time| time != found.st_mtime) => {
                wrong(&format!("modification time {}, not {:?}", found.st_mtime, state.mtime))
            }
            _ => Ok(()),
        }
    }

    /// Content and attributes of an open file.
    pub fn check_all(&mut self, file: &OwnedFd, number: u32) -> Result<()> {
        self.check_stat(file, number)?;
        let state = *self.state(number);
        let mut bytes = vec![0; state.size as usize + RECORD];
        let mut length = 0;
        loop {
            match sys::pread(file, &mut bytes[length..], length as u64)? {
                0 => break,
                n => length += n,
            }
        }
        if length as u64 != state.size {
            return Err(Fault::new(format!("file {number} reads {length} bytes, not {}", state.size)));
        }
        all_of(number, &bytes[..state.filled as usize])?;
        if bytes[state.filled as usize..].iter().any(|byte| *byte != 0) {
            return Err(Fault::new(format!("file {number} has content where it was only made longer")));
        }
        if state.filled > 0 && bytes[..RECORD] != record(number, state.sequence) {
            return Err(Fault::new(format!("file {number} lacks the last write")));
        }
        self.check_xattrs(file, number)
    }

    pub fn check_xattrs(&mut self, file: &OwnedFd, number: u32) -> Result<()> {
        let wanted = number.to_string();
        let id = sys::get_xattr(file, "user.id")?;
        if id != wanted {
            return Err(Fault::new(format!("file {number} has the attribute of {id}")));
        }
        if self.state(number).stamped && sys::get_xattr(file, "user.stamp")? != wanted {
            return Err(Fault::new(format!("file {number} has the new attribute of another")));
        }
        Ok(())
    }

    /// Both files of a pair by their names, while nothing moves.
    pub fn audit(&mut self, pair: usize) -> Result<()> {
        if matches!(self.shape.kind, Kind::Symlinks | Kind::Directories) {
            return Ok(());
        }
        let mut seen = Vec::new();
        for letter in ["a", "c"] {
            let file = sys::open(&self.path(letter, pair), libc::O_RDONLY)?;
            let number = self.who(&file)?;
            if number as usize / 2 != pair || seen.contains(&number) {
                return Err(Fault::new(format!("{letter}{pair} is file {number}")));
            }
            seen.push(number);
            self.check_all(&file, number)
                .map_err(|f| Fault { what: format!("afterwards, at {letter}{pair}: {}", f.what), ..f })?;
        }
        Ok(())
    }
}
