//! A file system as a slow disk or a network has it: finding a file takes its time, each time it is asked for, and many
//! may wait at once.
//!
//! slowfs MOUNTPOINT MILLISECONDS DIRECTORIES FILES
//!
//! d0, d1 … hold empty files f0, f1 …; the directories themselves are found at once. It serves until it is unmounted.

use std::ffi::OsStr;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, MountOption, ReplyAttr,
    ReplyDirectory, ReplyEntry, Request,
};

const TTL: Duration = Duration::from_secs(3600);
const FIRST_DIRECTORY: u64 = 2;
const FIRST_FILE: u64 = 1 << 20;
const MOST_FILES: u64 = 1 << 16;
/// More than there are clients.
const THREADS: usize = 32;

struct Slow {
    pause: Duration,
    directories: u64,
    files: u64,
}

impl Slow {
    fn attributes(&self, inode: u64) -> FileAttr {
        let directory = inode < FIRST_FILE;
        FileAttr {
            ino: INodeNo(inode),
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if directory { FileType::Directory } else { FileType::RegularFile },
            perm: if directory { 0o755 } else { 0o644 },
            nlink: if directory { 2 } else { 1 },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// The number of a name, and whether finding it takes its time.
    fn find(&self, parent: u64, name: &str) -> Option<(u64, bool)> {
        let number: u64 = name.get(1..)?.parse().ok()?;
        match (parent, name.as_bytes().first()) {
            (1, Some(b'd')) if number < self.directories => Some((FIRST_DIRECTORY + number, false)),
            (2.., Some(b'f')) if parent < FIRST_FILE && number < self.files => {
                Some((FIRST_FILE + (parent - FIRST_DIRECTORY) * MOST_FILES + number, true))
            }
            _ => None,
        }
    }

    fn names(&self, inode: u64) -> Vec<String> {
        let (letter, count) = if inode == 1 { ("d", self.directories) } else { ("f", self.files) };
        (0..count).map(|n| format!("{letter}{n}")).collect()
    }
}

impl Filesystem for Slow {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = name.to_str().and_then(|name| self.find(parent.0, name));
        match found {
            Some((inode, slow)) => {
                if slow {
                    thread::sleep(self.pause);
                }
                reply.entry(&TTL, &self.attributes(inode), Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode.0));
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (index, name) in self.names(inode.0).iter().enumerate().skip(offset as usize) {
            let Some((number, slow)) = self.find(inode.0, name) else { continue };
            let kind = if slow { FileType::RegularFile } else { FileType::Directory };
            if reply.add(INodeNo(number), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize| arguments.get(index).and_then(|word| word.parse::<u64>().ok());
    let (Some(mountpoint), Some(pause), Some(directories), Some(files)) =
        (arguments.get(1), number(2), number(3), number(4))
    else {
        eprintln!("usage: slowfs MOUNTPOINT MILLISECONDS DIRECTORIES FILES");
        std::process::exit(2);
    };
    let slow = Slow { pause: Duration::from_millis(pause), directories, files: files.min(MOST_FILES) };
    let mut config = fuser::Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("slowfs".to_owned())];
    config.n_threads = Some(THREADS);
    if let Err(error) = fuser::mount(slow, mountpoint, &config) {
        eprintln!("slowfs: {error}");
        std::process::exit(1);
    }
}
