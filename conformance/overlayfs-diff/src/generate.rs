//! Picks operations at random. To hit often, it keeps a picture of the paths that exist, corrected by what
//! succeeds on the reference; one pick in six ignores the picture.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand_chacha::ChaCha8Rng;
use rustix::fs::FileType;

use crate::apply::{Outcome, SLOTS};
use crate::layers::{DIRECTORY_MODES, FILE_MODES, NAMES, OWNERS};
use crate::op::{Lock, Op, Step};
use crate::tree::Tree;

/// The generator of one sequence.
pub struct Generator {
    rng: ChaCha8Rng,
    known: BTreeMap<String, FileType>,
    /// The slots of open files.
    open: BTreeSet<usize>,
}

impl Generator {
    /// `tree`: what the merged view shows before the first operation.
    pub fn new(rng: ChaCha8Rng, tree: &Tree) -> Self {
        let known = tree.0.iter().map(|(path, node)| (path.clone(), node.attributes.kind)).collect();
        Self { rng, known, open: BTreeSet::new() }
    }

    /// The next operation.
    pub fn next(&mut self) -> Step {
        let actor = if self.rng.random_bool(0.15) { 1000 } else { 0 };
        Step { op: self.pick(), actor }
    }

    /// Corrects the picture by what an operation did on the reference.
    pub fn learn(&mut self, op: &Op, outcome: &Outcome) {
        match op {
            Op::HandleOpen { slot, .. } | Op::HandleOpenToRead { slot, .. } if *outcome == Outcome::Done => {
                self.open.insert(*slot);
            }
            Op::HandleOpen { slot, .. } | Op::HandleOpenToRead { slot, .. } | Op::HandleClose { slot } => {
                self.open.remove(slot);
            }
            Op::Remount | Op::Cross => self.open.clear(),
            _ => {}
        }
        if matches!(outcome, Outcome::Error(_) | Outcome::NoHandle) {
            return;
        }
        match op {
            Op::Create { path, .. } | Op::HandleOpen { path, create: true, .. } => {
                self.known.entry(path.clone()).or_insert(FileType::RegularFile);
            }
            Op::Mkdir { path, .. } => self.add(path, FileType::Directory),
            Op::Symlink { path, .. } => self.add(path, FileType::Symlink),
            Op::Mkfifo { path, .. } => self.add(path, FileType::Fifo),
            Op::MknodNull { path, .. } => self.add(path, FileType::CharacterDevice),
            Op::Link { from, to } => {
                let kind = self.known.get(from).copied().unwrap_or(FileType::RegularFile);
                self.add(to, kind);
            }
            Op::Rmdir { path } | Op::Unlink { path } => drop(self.take(path)),
            Op::Rename { from, to, flags } => {
                let moved = self.take(from);
                let replaced = self.take(to);
                self.put(to, moved);
                if *flags & 2 != 0 {
                    self.put(from, replaced);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, path: &str, kind: FileType) {
        self.known.insert(path.to_owned(), kind);
    }

    /// Removes a path with everything below it; the keys returned are what follows the path.
    fn take(&mut self, path: &str) -> Vec<(String, FileType)> {
        let below = format!("{path}/");
        let paths: Vec<_> =
            self.known.keys().filter(|known| *known == path || known.starts_with(&below)).cloned().collect();
        paths
            .into_iter()
            .filter_map(|full| self.known.remove(&full).map(|kind| (full[path.len()..].to_owned(), kind)))
            .collect()
    }

    fn put(&mut self, path: &str, taken: Vec<(String, FileType)>) {
        for (rest, kind) in taken {
            self.known.insert(format!("{path}{rest}"), kind);
        }
    }

    fn pick(&mut self) -> Op {
        match self.rng.random_range(0..1200) {
            0..60 => {
                Op::Create { path: self.new_or_old(), exclusive: self.chance(0.3), mode: self.file_mode() }
            }
            60..120 => Op::Write {
                path: self.file(),
                offset: self.offset(),
                length: self.length(),
                fill: self.fill(),
            },
            120..150 => Op::Append { path: self.file(), length: self.length(), fill: self.fill() },
            150..175 => Op::OpenTruncate { path: self.file(), length: self.length(), fill: self.fill() },
            175..190 => Op::OpenForWriting { path: self.file() },
            190..220 => Op::Truncate { path: self.file(), length: self.offset() },
            220..240 => {
                // Plain, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE.
                let mode = *[0, 1, 3, 0x10].choose(&mut self.rng).unwrap_or(&0);
                let length = self.length() as u64 + 1;
                Op::Fallocate { path: self.file(), mode, offset: self.offset(), length }
            }
            240..300 => Op::Mkdir { path: self.new_or_old(), mode: self.directory_mode() },
            300..340 => Op::Rmdir { path: self.directory() },
            340..420 => Op::Unlink { path: self.any() },
            420..570 => {
                let flags = *[0, 0, 0, 0, 1, 2, 2].choose(&mut self.rng).unwrap_or(&0);
                let from = if self.chance(0.4) { self.directory() } else { self.any() };
                let to = if self.chance(0.4) { self.any() } else { self.new_or_old() };
                Op::Rename { from, to, flags }
            }
            570..610 => Op::Link { from: self.any(), to: self.new_or_old() },
            610..630 => {
                let target = *["a", "b/c", "../x", "/", "gone"].choose(&mut self.rng).unwrap_or(&"a");
                Op::Symlink { target: target.to_owned(), path: self.new_or_old() }
            }
            630..642 => Op::Mkfifo { path: self.new_or_old(), mode: self.file_mode() },
            642..650 => Op::MknodNull { path: self.new_or_old(), mode: self.file_mode() },
            650..690 => {
                let path = self.any();
                let directory = self.known.get(&path) == Some(&FileType::Directory);
                Op::Chmod { path, mode: if directory { self.directory_mode() } else { self.file_mode() } }
            }
            690..720 => Op::Chown { path: self.any(), uid: self.owner(), gid: self.owner() },
            720..750 => {
                let seconds = *[0, -5, 1, 999_999_999, 1_234_567_890, 5_000_000_000]
                    .choose(&mut self.rng)
                    .unwrap_or(&0);
                Op::Utimens {
                    path: self.any(),
                    seconds,
                    nanoseconds: self.rng.random_range(0..1_000_000_000),
                }
            }
            750..785 => self.set_xattr(),
            785..800 => Op::RemoveXattr { path: self.any(), name: self.xattr_name() },
            800..810 => Op::ListXattrs { path: self.any() },
            810..840 => Op::Readdir { path: self.directory() },
            840..860 => Op::Read { path: self.file() },
            860..865 => Op::Readlink { path: self.any() },
            865..900 => Op::Stat { path: self.any() },
            900..910 => Op::Access { path: self.any(), mode: self.rng.random_range(0..8) },
            _ => self.handle_operation(),
        }
    }

    /// Something with an open file, most of the time with one that is open: they are kept over many operations.
    fn handle_operation(&mut self) -> Op {
        if self.chance(0.22) || self.open.is_empty() {
            let slot = self.rng.random_range(0..SLOTS);
            if self.chance(0.4) {
                let path = if self.chance(0.9) { self.file() } else { self.directory() };
                return Op::HandleOpenToRead { slot, path };
            }
            let create = self.chance(0.2);
            let path = if create { self.new_or_old() } else { self.file() };
            return Op::HandleOpen { slot, path, create, append: self.chance(0.2) };
        }
        let slot = self.open.iter().copied().choose(&mut self.rng).unwrap_or(0);
        match self.rng.random_range(0..100) {
            0..14 => {
                Op::HandleWrite { slot, offset: self.offset(), length: self.length(), fill: self.fill() }
            }
            14..20 => Op::HandleWriteOn { slot, length: self.length(), fill: self.fill() },
            20..28 => Op::HandleRead { slot },
            28..34 => Op::HandleReadAt { slot, offset: self.offset(), length: self.length() },
            34..38 => Op::HandleReadOn { slot, length: self.length() },
            38..50 => Op::HandleStat { slot },
            50..56 => Op::HandleTruncate { slot, length: self.offset() },
            56..61 => Op::HandleChmod { slot, mode: self.file_mode() },
            61..64 => Op::HandleChown { slot, uid: self.owner(), gid: self.owner() },
            64..67 => Op::HandleUtimens { slot, seconds: self.rng.random_range(0..1_500_000_000) },
            67..70 => {
                let length = self.rng.random_range(0..40);
                Op::HandleSetXattr { slot, value: (0..length).map(|_| self.rng.random()).collect() }
            }
            70..72 => Op::HandleListXattrs { slot },
            72..76 => {
                let mode = *[0, 1, 3, 0x10].choose(&mut self.rng).unwrap_or(&0);
                let length = self.length() as u64 + 1;
                Op::HandleFallocate { slot, mode, offset: self.offset(), length }
            }
            76..86 => Op::HandleFlock { slot, kind: self.lock() },
            86..96 => {
                let (offset, length) = (self.rng.random_range(0..8), self.rng.random_range(0..8));
                Op::HandleLock { slot, kind: self.lock(), offset, length }
            }
            _ => Op::HandleClose { slot },
        }
    }

    fn lock(&mut self) -> Lock {
        *[Lock::Shared, Lock::Exclusive, Lock::Unlocked].choose(&mut self.rng).unwrap_or(&Lock::Shared)
    }

    fn set_xattr(&mut self) -> Op {
        let flags = *[0, 0, 0, 1, 2].choose(&mut self.rng).unwrap_or(&0);
        let path = self.any();
        if self.chance(0.2) {
            let default = self.known.get(&path) == Some(&FileType::Directory) && self.chance(0.6);
            let name = if default { "system.posix_acl_default" } else { "system.posix_acl_access" };
            return Op::SetXattr { path, name: name.to_owned(), value: self.acl(), flags: 0 };
        }
        if self.chance(0.1) {
            // A file capability, cap_net_raw=ep: lost at the next write.
            let value = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
            return Op::SetXattr { path, name: "security.capability".to_owned(), value, flags: 0 };
        }
        let length = self.rng.random_range(0..40);
        let value = (0..length).map(|_| self.rng.random()).collect();
        Op::SetXattr { path, name: self.xattr_name(), value, flags }
    }

    /// A POSIX ACL with one named user, as the xattr holds it: a version, then tag, permissions, id.
    fn acl(&mut self) -> Vec<u8> {
        const NO_ID: u32 = u32::MAX;
        let named = self.rng.random_range(0..8);
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in
            [(1u16, 7u16, NO_ID), (2, named, 1000), (4, 5, NO_ID), (0x10, 7, NO_ID), (0x20, 4, NO_ID)]
        {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    fn xattr_name(&mut self) -> String {
        let name = *["user.one", "user.two", "user.three", "trusted.mine"]
            .choose(&mut self.rng)
            .unwrap_or(&"user.one");
        name.to_owned()
    }

    /// A path that probably exists.
    fn any(&mut self) -> String {
        self.existing(|_| true)
    }

    fn file(&mut self) -> String {
        self.existing(|kind| kind == FileType::RegularFile)
    }

    fn directory(&mut self) -> String {
        self.existing(|kind| kind == FileType::Directory)
    }

    fn existing(&mut self, wanted: impl Fn(FileType) -> bool) -> String {
        if self.chance(0.16) {
            return self.somewhere();
        }
        let found =
            self.known.iter().filter(|(_, kind)| wanted(**kind)).map(|(path, _)| path).choose(&mut self.rng);
        found.cloned().unwrap_or_else(|| "a".to_owned())
    }

    fn new_or_old(&mut self) -> String {
        if self.chance(0.1) { self.any() } else { self.somewhere() }
    }

    /// A name in a directory that probably exists.
    fn somewhere(&mut self) -> String {
        let directories = self.known.iter().filter(|(_, kind)| **kind == FileType::Directory);
        let parent =
            directories.map(|(path, _)| path.clone()).choose(&mut self.rng).unwrap_or_else(|| ".".to_owned());
        let name = match self.rng.random_range(0..100) {
            0 => "n".repeat(255),
            1 => "n".repeat(256),
            2 => "with space, comma:colon".to_owned(),
            3 => "\u{e4}\u{1f980}".to_owned(),
            _ => NAMES.choose(&mut self.rng).copied().unwrap_or("a").to_owned(),
        };
        if parent == "." { name } else { format!("{parent}/{name}") }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    fn file_mode(&mut self) -> u32 {
        FILE_MODES.choose(&mut self.rng).copied().unwrap_or(0o644)
    }

    fn directory_mode(&mut self) -> u32 {
        DIRECTORY_MODES.choose(&mut self.rng).copied().unwrap_or(0o755)
    }

    fn owner(&mut self) -> u32 {
        OWNERS.choose(&mut self.rng).copied().unwrap_or(0)
    }

    fn offset(&mut self) -> u64 {
        match self.rng.random_range(0..4) {
            0 => 0,
            1 => self.rng.random_range(0..300),
            2 => self.rng.random_range(0..20_000),
            _ => self.rng.random_range(0..200_000),
        }
    }

    fn length(&mut self) -> usize {
        match self.rng.random_range(0..10) {
            0 => 0,
            1..8 => self.rng.random_range(1..9000),
            _ => self.rng.random_range(1..140_000),
        }
    }

    fn fill(&mut self) -> u8 {
        self.rng.random()
    }
}
