//! Writes tars to the letter, wrong ones too, and a place to unpack them with things beside it that must stay.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use plyfs::layer::unpack::{Limits, Ownership, UnpackError, UnpackOptions, Unpacked, unpack};
use tempfile::TempDir;

pub const BLOCK: usize = 512;

/// A tar being written.
#[derive(Debug, Clone, Default)]
pub struct RawTar(pub Vec<u8>);

impl RawTar {
    pub fn new() -> RawTar {
        RawTar::default()
    }

    /// An entry with a ustar header, which `change` may alter before its checksum is made.
    pub fn changed(
        mut self,
        flag: u8,
        name: &[u8],
        link: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut [u8]),
    ) -> RawTar {
        let mut block = [0_u8; BLOCK];
        let put = |field: &mut [u8], bytes: &[u8]| {
            let length = bytes.len().min(field.len());
            field[..length].copy_from_slice(&bytes[..length]);
        };
        put(&mut block[..100], name);
        put(&mut block[100..108], b"0000644\0");
        put(&mut block[108..116], b"0000000\0");
        put(&mut block[116..124], b"0000000\0");
        put(&mut block[124..136], format!("{:011o}\0", data.len()).as_bytes());
        put(&mut block[136..148], b"00000000144\0");
        block[156] = flag;
        put(&mut block[157..257], link);
        put(&mut block[257..265], b"ustar\x0000");
        change(&mut block);
        seal(&mut block);
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub fn entry(self, flag: u8, name: &[u8], link: &[u8], data: &[u8]) -> RawTar {
        self.changed(flag, name, link, data, |_| {})
    }

    pub fn file(self, name: &str, data: &str) -> RawTar {
        self.entry(b'0', name.as_bytes(), b"", data.as_bytes())
    }

    pub fn dir(self, name: &str) -> RawTar {
        self.changed(b'5', name.as_bytes(), b"", b"", |block| block[100..108].copy_from_slice(b"0000755\0"))
    }

    pub fn symlink(self, name: &str, target: &str) -> RawTar {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    pub fn link(self, name: &str, target: &str) -> RawTar {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    /// A device of the given number.
    pub fn device(self, flag: u8, name: &str, major: &str, minor: &str) -> RawTar {
        self.changed(flag, name.as_bytes(), b"", b"", |block| {
            block[329..329 + major.len()].copy_from_slice(major.as_bytes());
            block[337..337 + minor.len()].copy_from_slice(minor.as_bytes());
        })
    }

    /// A PAX header with these records.
    pub fn pax(self, records: &[(&str, &[u8])]) -> RawTar {
        let content: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.entry(b'x', b"PaxHeaders/x", b"", &content)
    }

    /// The tar with its end marker.
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        self.0
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

/// Puts in the right checksum.
pub fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A target to unpack into, a lower below it, and things beside them.
pub struct Place {
    dir: TempDir,
    pub target: PathBuf,
    pub lower: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Place {
    /// `fill` fills the lower.
    pub fn new(fill: impl FnOnce(&Path)) -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name);
        for name in ["target", "lower", "canary", "canary/dir"] {
            fs::create_dir(path(name)).expect("a directory");
        }
        fs::write(path("canary/file"), "alive").expect("a file");
        fs::write(path("canary/dir/inner"), "alive").expect("a file");
        symlink("../target", path("canary/link")).expect("a link");
        fill(&path("lower"));
        let (target, lower) = (path("target"), path("lower"));
        let before = snapshot(dir.path());
        Place { dir, target, lower, before }
    }

    /// Empties the target.
    pub fn again(&self) {
        fs::remove_dir_all(&self.target).expect("removed");
        fs::create_dir(&self.target).expect("made");
    }

    pub fn unpack(&self, tar: &[u8], ownership: Ownership) -> Result<Unpacked, UnpackError> {
        self.unpack_with(tar, &UnpackOptions { limits: Limits::default(), ownership })
    }

    pub fn unpack_with(&self, tar: &[u8], options: &UnpackOptions) -> Result<Unpacked, UnpackError> {
        let result = unpack(tar, &self.target, std::slice::from_ref(&self.lower), options);
        assert_eq!(snapshot(self.dir.path()), self.before, "something beside the target changed");
        result
    }

    /// The absolute path of something beside the target.
    pub fn canary(&self, name: &str) -> String {
        self.dir.path().join("canary").join(name).to_str().expect("text").to_owned()
    }
}

/// Names, types, modes, owners, times and contents of everything but the target.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("metadata");
            if path == root.join("target") {
                continue;
            }
            let content = if meta.is_dir() {
                pending.push(path.clone());
                String::new()
            } else if meta.is_symlink() {
                format!("{:?}", fs::read_link(&path).expect("a link"))
            } else if meta.is_file() {
                fs::read(&path).expect("content").escape_ascii().to_string()
            } else {
                format!("{}", meta.rdev())
            };
            let mode = meta.permissions().mode();
            let known = format!(
                "{mode:o} {} {} {} {} {content}",
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec()
            );
            found.insert(path, known);
        }
    }
    found
}

/// The ownerships that can be tried here.
pub fn ownerships() -> Vec<Ownership> {
    match Ownership::for_this_process() {
        Ownership::Real => vec![Ownership::Real, Ownership::Recorded],
        Ownership::Recorded => vec![Ownership::Recorded],
    }
}

/// Everything below a directory, by path: type and content, as the bare file system has it.
pub fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("metadata");
            let name = path.strip_prefix(root).expect("below").as_os_str().as_bytes().escape_ascii();
            let kind = match meta.mode() & 0o170_000 {
                0o040_000 => {
                    pending.push(path.clone());
                    "/"
                }
                0o120_000 => "@",
                0o020_000 if meta.rdev() == 0 => "!",
                0o100_000 => "",
                _ => "%",
            };
            found.push(format!("{name}{kind}"));
        }
    }
    found.sort();
    found
}
