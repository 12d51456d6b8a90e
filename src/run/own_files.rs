//! The files of `/etc` that are the container's and not its image's, and the stand-ins that they and the kernel's file
//! systems are mounted on: made before the container runs, taken away afterwards, so that no change shows them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::RunError;
use super::root::{Made, Root};
use super::settings::{Network, Settings};
use super::spec::{OWN_FILES, hostname};
use crate::sys::Errno;
use crate::sys::fs::{
    AtFlags, FileType, Timespec, Timestamps, UTIME_OMIT, fstat, lstatat, unlinkat, utimens_fd,
};

/// Where this machine keeps how names are resolved; the second where the first leads to a resolver on loopback only.
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// Directories that the kernel's file systems and the files are mounted on.
const KERNEL_DIRS: [&str; 4] = ["proc", "sys", "dev", "etc"];

/// What was made in one directory to be mounted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIns {
    /// The directory, in the container.
    parent: String,
    /// When it was modified last before: seconds and nanoseconds.
    before: (i64, i64),
    /// The same afterwards.
    after: (i64, i64),
    /// The names that were made.
    names: Vec<String>,
}

/// Writes `resolv.conf`, `hosts` and `hostname` into `dir`.
///
/// # Errors
/// They cannot be written.
pub fn write(dir: &Path, id: &str, settings: &Settings) -> Result<(), RunError> {
    let hostname = hostname(id, settings);
    let own = settings.network == Network::None;
    let hosts = if own { None } else { fs::read_to_string("/etc/hosts").ok() };
    let mut hosts =
        hosts.unwrap_or_else(|| "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n".to_owned());
    if !hosts.ends_with('\n') {
        hosts.push('\n');
    }
    hosts.push_str(&format!("127.0.1.1\t{hostname}\n"));
    let resolv = if own {
        String::new()
    } else {
        RESOLV_CONF.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    };
    let contents = [resolv, hosts, format!("{hostname}\n")];
    for (name, content) in OWN_FILES.iter().zip(contents) {
        let path = dir.join(name);
        fs::write(&path, content).map_err(RunError::system("write", path))?;
    }
    Ok(())
}

/// Makes what is missing of the places that every container has mounts on. Returns what was made.
///
/// # Errors
/// Something else is in the way.
pub fn make_stand_ins(root: &Root) -> Result<Vec<StandIns>, RunError> {
    let top = make_in(root, "/", &KERNEL_DIRS, |path| root.make_dir(path))?;
    let etc = make_in(root, "/etc", &OWN_FILES, |path| root.make_file(path))?;
    Ok([top, etc].into_iter().filter(|made| !made.names.is_empty()).collect())
}

fn make_in(
    root: &Root,
    parent: &str,
    names: &[&str],
    make: impl Fn(&Path) -> Result<Made, RunError>,
) -> Result<StandIns, RunError> {
    let dir = Path::new(parent);
    let before = modified(root, dir)?;
    let mut made = Vec::new();
    for name in names {
        if make(&dir.join(name))? == Made::New {
            made.push((*name).to_owned());
        }
    }
    Ok(StandIns { parent: parent.to_owned(), before, after: modified(root, dir)?, names: made })
}

fn modified(root: &Root, dir: &Path) -> Result<(i64, i64), RunError> {
    let stat =
        fstat(root.directory(dir)?).map_err(io::Error::from).map_err(RunError::system("look at", dir))?;
    Ok((stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()))
}

/// Takes away those stand-ins that are empty still, and gives the directory above its time back where nothing else
/// happened in it. What a container put in their place stays.
pub fn remove_stand_ins(root: &Root, made: &[StandIns]) {
    for stand_ins in made.iter().rev() {
        if let Err(e) = remove(root, stand_ins) {
            log::debug!("stand-ins in {} stay in the container: {e}", stand_ins.parent);
        }
    }
}

fn remove(root: &Root, made: &StandIns) -> Result<(), RunError> {
    let path = Path::new(&made.parent);
    let parent = root.directory(path)?;
    let untouched = modified(root, path)? == made.after;
    for name in &made.names {
        match remove_empty(parent.as_fd(), OsStr::new(name)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
            Err(e) => return Err(RunError::system("remove", path.join(name))(e.into())),
        }
    }
    if untouched {
        let last_modification = Timespec { tv_sec: made.before.0, tv_nsec: made.before.1 };
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access, last_modification };
        utimens_fd(parent.as_fd(), &times)
            .map_err(io::Error::from)
            .map_err(RunError::system("change", path))?;
    }
    Ok(())
}

/// Removes an empty directory or an empty file; another stays.
fn remove_empty(parent: BorrowedFd<'_>, name: &OsStr) -> crate::sys::Result<()> {
    let stat = lstatat(parent, name)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => unlinkat(parent, name, AtFlags::REMOVEDIR),
        FileType::RegularFile if stat.st_size == 0 => unlinkat(parent, name, AtFlags::empty()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mtime(path: &Path) -> std::time::SystemTime {
        fs::metadata(path).and_then(|meta| meta.modified()).expect("a time")
    }

    #[test]
    fn stand_ins_leave_no_trace() {
        let dir = tempfile::tempdir().expect("a directory");
        let inside = |name: &str| dir.path().join(name);
        fs::create_dir(inside("etc")).expect("made");
        fs::create_dir(inside("proc")).expect("made");
        fs::write(inside("etc/hosts"), "mine").expect("written");
        let times = [mtime(dir.path()), mtime(&inside("etc"))];
        let root = Root::open(dir.path()).expect("opened");
        let made = make_stand_ins(&root).expect("made");
        assert!(inside("sys").is_dir() && inside("dev").is_dir() && inside("etc/hostname").is_file());
        remove_stand_ins(&root, &made);
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).expect("read").map(|e| e.expect("read").file_name()).collect();
        left.sort();
        assert_eq!(left, ["etc", "proc"]);
        assert_eq!(fs::read_dir(inside("etc")).expect("read").count(), 1);
        assert_eq!([mtime(dir.path()), mtime(&inside("etc"))], times);
    }

    #[test]
    fn what_was_put_in_their_place_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let inside = |name: &str| dir.path().join(name);
        let root = Root::open(dir.path()).expect("opened");
        let made = make_stand_ins(&root).expect("made");
        fs::write(inside("dev/x"), "").expect("written");
        fs::write(inside("etc/hostname"), "x").expect("written");
        fs::write(inside("new"), "").expect("written");
        let time = mtime(dir.path());
        remove_stand_ins(&root, &made);
        assert!(inside("dev/x").exists() && inside("etc/hostname").exists() && !inside("etc/hosts").exists());
        assert!(!inside("proc").exists() && mtime(dir.path()) >= time);
    }
}
