//! Which of this machine's mounts a sandbox is made of. Pure.
//!
//! A union sees one mount only. So each mount that a path leads to gets a union of its own, and what has no union is
//! not shown: nothing of the machine is bound into a sandbox where it could be written through.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::mount::mountinfo::Entry;

/// What the OCI runtime puts fresh mounts on.
const FRESH: [&str; 3] = ["/proc", "/sys", "/dev"];
/// The kernel's own file systems. A write to one acts on the machine and leaves no file to be copied.
const KERNELS: [&str; 24] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "functionfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// A mount of this machine below the root, as a sandbox shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Those of its flags that hold in the sandbox too, as options of a mount.
    pub flags: Vec<&'static str>,
}

/// The mounts below the root that paths lead to and a sandbox shows, those above before those below them. What lies in
/// `hidden` is left out.
pub fn shown(entries: &[Entry], hidden: &Path) -> Vec<Shown> {
    let mut shown: Vec<Shown> = visible(entries)
        .into_iter()
        .filter(|entry| entry.mount_point != Path::new("/") && is_shown(entry, hidden))
        .map(|entry| Shown { path: entry.mount_point.clone(), flags: flags(entry) })
        .collect();
    shown.sort_by(|a, b| a.path.cmp(&b.path));
    shown.dedup_by(|a, b| a.path == b.path);
    shown
}

/// The flags of the root's own mount, as [`Shown::flags`].
pub fn root_flags(entries: &[Entry]) -> Vec<&'static str> {
    let root = visible(entries).into_iter().find(|entry| entry.mount_point == Path::new("/"));
    root.map(flags).unwrap_or_default()
}

fn is_shown(entry: &Entry, hidden: &Path) -> bool {
    let point = &entry.mount_point;
    let fresh = FRESH.iter().any(|place| point.starts_with(place));
    // What a container is mounted at belongs to it, and shall not be held.
    let containers = entry.fs_type == *OsStr::new("fuse.plyfs");
    !fresh
        && !containers
        && !point.starts_with(hidden)
        && !KERNELS.iter().any(|kind| entry.fs_type == *OsStr::new(kind))
}

fn flags(entry: &Entry) -> Vec<&'static str> {
    let has = |flag: &&str| entry.mount_options.split(',').any(|option| option == *flag);
    ["nosuid", "noexec"].into_iter().filter(has).collect()
}

/// The mounts that a path leads to: those that no later mount covers.
fn visible(entries: &[Entry]) -> Vec<&Entry> {
    let known = |id: u64| entries.iter().any(|entry| entry.id == id);
    let mut pending: Vec<&Entry> =
        entries.iter().filter(|entry| entry.parent == entry.id || !known(entry.parent)).collect();
    let mut visible = Vec::new();
    while let Some(lowest) = pending.pop() {
        let top = topmost(entries, lowest);
        visible.push(top);
        let on_top: Vec<&Entry> =
            entries.iter().filter(|entry| entry.parent == top.id && entry.id != top.id).collect();
        let covers = |a: &Entry, b: &Entry| {
            a.mount_point != b.mount_point && b.mount_point.starts_with(&a.mount_point)
        };
        pending.extend(on_top.iter().filter(|entry| !on_top.iter().any(|other| covers(other, entry))));
    }
    visible
}

/// What lies on top of the mounts that were made at the place of `lowest`, one over the other.
fn topmost<'a>(entries: &'a [Entry], lowest: &'a Entry) -> &'a Entry {
    let mut top = lowest;
    let over = |below: &Entry, entry: &&Entry| {
        entry.parent == below.id && entry.id != below.id && entry.mount_point == below.mount_point
    };
    while let Some(next) = entries.iter().find(|entry| over(top, entry)) {
        top = next;
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::mountinfo::parse;

    fn of(table: &str) -> Vec<String> {
        let lines: Vec<String> = table.lines().map(|line| line.replace(" - ", " rw - ")).collect();
        let entries = parse(lines.join("\n").as_bytes());
        assert_eq!(entries.len(), table.lines().count());
        shown(&entries, Path::new("/home/a/store")).iter().map(|s| s.path.display().to_string()).collect()
    }

    #[test]
    fn real_file_systems_are_shown_and_the_kernels_are_not() {
        let table = "1 0 8:1 / / - ext4 x rw\n2 1 0:2 / /proc - proc x rw\n3 1 0:3 / /tmp - tmpfs x rw\n\
            4 1 8:2 / /home - ext4 x rw\n5 4 0:5 / /home/a/store/containers/x/merged - fuse.plyfs x rw\n\
            6 1 0:6 / /dev - devtmpfs x rw\n7 6 0:7 / /dev/shm - tmpfs x rw\n\
            8 1 0:8 / /mnt/t - tracefs x rw\n9 1 0:9 / /mnt/s - fuse.sshfs x rw";
        assert_eq!(of(table), ["/home", "/mnt/s", "/tmp"]);
    }

    #[test]
    fn only_what_a_path_leads_to_is_shown() {
        let over = "1 0 8:1 / / - ext4 x rw\n2 1 0:2 / /a - tmpfs x rw\n3 2 0:3 / /a/b - tmpfs x rw\n\
            4 2 0:4 / /a - tmpfs x rw\n5 4 0:5 / /a/c - tmpfs x rw";
        assert_eq!(of(over), ["/a", "/a/c"]);
        let under = "1 0 8:1 / / - ext4 x rw\n2 1 0:2 / /a/b - tmpfs x rw\n3 1 0:3 / /a - tmpfs x rw";
        assert_eq!(of(under), ["/a"]);
        let new_root = "1 0 8:1 / / - ext4 x rw\n2 1 0:2 / / - ext4 x rw\n3 1 0:3 / /old - tmpfs x rw";
        assert_eq!(of(new_root), [""; 0]);
        let no_root = "5 1 0:2 / /a - tmpfs x rw\n6 5 0:3 / /a/b - tmpfs x rw";
        assert_eq!(of(no_root), ["/a", "/a/b"]);
    }

    #[test]
    fn flags_that_forbid_are_kept() {
        let entries = parse(b"1 0 8:1 / / rw,nosuid,relatime,noexec - ext4 x rw\n");
        assert_eq!(root_flags(&entries), ["nosuid", "noexec"]);
    }
}
