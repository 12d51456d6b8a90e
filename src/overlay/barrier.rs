//! What makes the content of a copy safe before its name shows, by the file system of the upper.
//!
//! A name that survives a crash must lead to all of the content. fsync(2) sees to that, and costs a commit of the
//! journal for each file. Where the file system writes its metadata to one journal in the order of the changes, less is
//! needed: once the content is written out, what says where it lies is in the journal, before the name that comes next.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::sys::Result;
use crate::sys::fs as sysfs;

/// `EXT4_SUPER_MAGIC`, which ext2 and ext3 have, too.
const EXT4: i64 = 0xef53;
/// `XFS_SUPER_MAGIC`.
const XFS: i64 = 0x5846_5342;

/// How content is kept from coming to disk later than the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// The file is synced.
    Sync,
    /// Its content is written out; the journal keeps the order of the rest.
    WriteOut,
}

impl Barrier {
    /// What the file system that `dir` lies on needs. Of those that keep the order, ext4 with a journal and XFS count:
    /// both end the writing of a page only when the extent that it fills is in the journal.
    pub fn of(dir: &OwnedFd) -> Barrier {
        let ordered = match sysfs::fs_type(dir.as_fd()) {
            Ok(EXT4) => has_ext4_journal(dir),
            Ok(XFS) => true,
            _ => false,
        };
        if ordered { Barrier::WriteOut } else { Barrier::Sync }
    }

    /// Passes once the content of `file` cannot come to disk later than a name that is given to it from now on.
    pub fn pass(self, file: &OwnedFd) -> Result<()> {
        match self {
            Barrier::Sync => sysfs::fsync(file),
            Barrier::WriteOut => sysfs::write_out(file.as_fd()),
        }
    }
}

/// Whether the kernel tells that the ext4 below `dir` has a journal at work.
fn has_ext4_journal(dir: &OwnedFd) -> bool {
    let Ok(st) = sysfs::fstat(dir) else { return false };
    let (major, minor) = (sysfs::major(st.st_dev), sysfs::minor(st.st_dev));
    let device = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).unwrap_or_default();
    let Some(name) = device.file_name() else { return false };
    let task = fs::read_to_string(Path::new("/sys/fs/ext4").join(name).join("journal_task"));
    task.is_ok_and(|task| task.trim().parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_promises_no_order_is_synced() {
        let memory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let dir = sysfs::open_dir_path(sysfs::CWD, memory.path().as_os_str()).expect("opened");
        assert_eq!(Barrier::of(&dir), Barrier::Sync);
    }
}
