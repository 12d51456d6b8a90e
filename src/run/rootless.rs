//! Ordinary users: a user namespace in which they are root, with their subordinate ids where newuidmap and newgidmap
//! give them (subuid(5)), with one id otherwise; and the way back into it for later commands.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::RunError;
use super::user::Identity;
use crate::sys::fs::geteuid;
use crate::sys::process::{
    Fork, Namespace, Pid, WaitOptions, exit_now, fork, getgid, getuid, in_initial_user_namespace,
    join_namespace, unshare_user_and_mounts, waitpid,
};

/// Whose rights a container is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Those of the machine's root.
    Machine,
    /// Those of a user namespace's root.
    Namespace,
}

impl Rights {
    /// Those of this process.
    pub fn own() -> Rights {
        if in_initial_user_namespace() { Rights::Machine } else { Rights::Namespace }
    }
}

/// A range of ids that belongs to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    count: u32,
}

/// Makes an ordinary user root of a new user namespace, and of a new mount namespace. Root stays as it is. The process
/// must have one thread.
///
/// # Errors
/// [`RunError::System`]: the system forbids user namespaces.
pub fn become_root() -> Result<(), RunError> {
    if geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let mapper = Mapper::start(uid, gid).map_err(RunError::system("start", "newuidmap"))?;
    unshare_user_and_mounts()
        .map_err(io::Error::from)
        .map_err(RunError::system("make a user namespace by", "/proc/self/ns/user"))?;
    if mapper.map() {
        return Ok(());
    }
    let write = |name: &str, text: &str| {
        let path = Path::new("/proc/self").join(name);
        fs::write(&path, text).map_err(RunError::system("write", path))
    };
    // The kernel asks for it before an ordinary user may map a group.
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {uid} 1"))?;
    write("gid_map", &format!("0 {gid} 1"))
}

/// The identity with those groups only that this process's user namespace has.
///
/// # Errors
/// [`RunError::Unmapped`]: it has not the user or the group.
pub fn fit(identity: Identity) -> Result<Identity, RunError> {
    if Rights::own() == Rights::Machine {
        return Ok(identity);
    }
    let read = |name: &str| fs::read_to_string(Path::new("/proc/self").join(name)).unwrap_or_default();
    let may_set_groups = read("setgroups").trim() != "deny";
    fit_to(identity, &read("uid_map"), &read("gid_map"), may_set_groups.then_some(()))
}

/// [`fit`] to the content of the maps; `groups` where a process may set its groups.
fn fit_to(identity: Identity, uids: &str, gids: &str, groups: Option<()>) -> Result<Identity, RunError> {
    for (kind, id, map) in [("user", identity.uid, uids), ("group", identity.gid, gids)] {
        if !is_mapped(map, id) {
            return Err(RunError::Unmapped { kind, id });
        }
    }
    let mut identity = identity;
    identity.groups.retain(|gid| groups.is_some() && is_mapped(gids, *gid));
    Ok(identity)
}

/// Whether a map (user_namespaces(7)) has an id of the inside.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        u64::from(id) >= first && u64::from(id) - first < count
    })
}

/// Goes, as an ordinary user, into the namespaces in which `mount_point` is mounted. Where there are none, and for root,
/// nothing happens. The process must have one thread.
///
/// # Errors
/// The namespaces cannot be entered.
pub fn enter(mount_point: &Path) -> Result<(), RunError> {
    if geteuid().is_root() {
        return Ok(());
    }
    let Some(pid) = holder(mount_point) else { return Ok(()) };
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        File::open(&path).map_err(RunError::system("open", path))
    };
    let join = |file: &File, kind| {
        let joined = join_namespace(file.as_fd(), kind).map_err(io::Error::from);
        joined.map_err(RunError::system("enter the namespaces of", format!("/proc/{pid}")))
    };
    let (user, mounts) = (open("user")?, open("mnt")?);
    join(&user, Namespace::User)?;
    join(&mounts, Namespace::Mount)
}

/// Does `work` in the namespaces in which `mount_point` is mounted, in another process where these are not this one's:
/// several can be worked on one after the other. An error comes as its text. The process must have one thread.
///
/// # Errors
/// Those of `work`; the namespaces cannot be entered.
pub fn inside(mount_point: &Path, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    if geteuid().is_root() || holder(mount_point).is_none() {
        return work();
    }
    let failed = |e: io::Error| format!("cannot start a process: {e}");
    let (mut reader, mut writer) = io::pipe().map_err(failed)?;
    match fork().map_err(failed)? {
        Fork::Parent(pid) => {
            drop(writer);
            let mut said = String::new();
            reader.read_to_string(&mut said).map_err(failed)?;
            let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty());
            let status = ended.ok().flatten().and_then(|(_, status)| status.exit_status());
            if status == Some(0) { Ok(()) } else { Err(said) }
        }
        Fork::Child => {
            drop(reader);
            let done = enter(mount_point).map_err(|e| e.to_string()).and_then(|()| work());
            let told = done.as_ref().err().map(|text| writer.write_all(text.as_bytes()));
            exit_now(if done.is_ok() && told.is_none() { 0 } else { 1 })
        }
    }
}

/// A process, in another mount namespace, that sees something mounted at `mount_point` or beside it, as the parts of a
/// sandbox are.
fn holder(mount_point: &Path) -> Option<i32> {
    let dir = mount_point.parent()?;
    let is_there = |line: &str| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(dir));
    let sees = |pid: &str| {
        fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|table| table.lines().any(is_there))
    };
    if sees("self") {
        return None;
    }
    let names = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.find(|pid| sees(pid))?.parse().ok()
}

/// A process that stays outside and maps the ids of this one when told to.
struct Mapper {
    pid: i32,
    go: io::PipeWriter,
}

impl Mapper {
    fn start(uid: u32, gid: u32) -> io::Result<Mapper> {
        let (mut wait, go) = io::pipe()?;
        let target = std::process::id();
        match fork()? {
            Fork::Parent(pid) => Ok(Mapper { pid, go }),
            Fork::Child => {
                drop(go);
                let mut word = [0];
                let told = wait.read(&mut word).is_ok_and(|length| length == 1);
                exit_now(if told && map_subordinate(target, uid, gid) { 0 } else { 1 })
            }
        }
    }

    /// Whether the ids are mapped now.
    fn map(mut self) -> bool {
        if self.go.write_all(&[1]).is_err() {
            return false;
        }
        drop(self.go);
        let ended = waitpid(Pid::from_raw(self.pid), WaitOptions::empty());
        ended.ok().flatten().is_some_and(|(_, status)| status.exit_status() == Some(0))
    }
}

/// Maps the user's subordinate ids into the namespace of the process `target`; whether that worked for both kinds.
fn map_subordinate(target: u32, uid: u32, gid: u32) -> bool {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name_of(&passwd, uid);
    let range = |path: &str| subordinate(&fs::read_to_string(path).unwrap_or_default(), name, uid);
    let (Some(uids), Some(gids)) = (range("/etc/subuid"), range("/etc/subgid")) else { return false };
    // Groups first: if one of the two fails, it is most likely this one, and users are unmapped still.
    call("newgidmap", target, gid, gids) && call("newuidmap", target, uid, uids)
}

fn call(program: &str, target: u32, own: u32, range: Range) -> bool {
    let numbers = [target, 0, own, 1, 1, range.first, range.count].map(|number| number.to_string());
    let mut command = Command::new(program);
    command.args(numbers).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The name of a user in a passwd file.
fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The first range of a user in a subuid or subgid file.
fn subordinate(file: &str, name: Option<&str>, uid: u32) -> Option<Range> {
    let number = uid.to_string();
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.trim().parse().ok()? };
        ((Some(owner) == name || owner == number) && range.count > 0).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let file = "ann:100000:65536\nbad\n1001:300000:10\nbob:1:0\n";
        assert_eq!(name_of("root:x:0:0\nann:x:1000:100\n", 1000), Some("ann"));
        assert_eq!(subordinate(file, Some("ann"), 1000), Some(Range { first: 100_000, count: 65_536 }));
        assert_eq!(subordinate(file, None, 1001), Some(Range { first: 300_000, count: 10 }));
        assert_eq!(subordinate(file, Some("bob"), 7), None);
        assert_eq!(subordinate(file, None, 1000), None);
    }

    #[test]
    fn ids_that_are_not_mapped_are_refused() {
        let identity = |uid, gid| Identity { uid, gid, groups: vec![7, 5000, 70_000], home: "/".into() };
        let (single, many) = ("         0       1000          1\n", "0 1000 1\n1 100000 65536\n");
        assert!(fit_to(identity(0, 0), single, single, None).expect("mapped").groups.is_empty());
        assert_eq!(fit_to(identity(65_536, 1), many, many, Some(())).expect("mapped").groups, [7, 5000]);
        let refused = fit_to(identity(0, 7), single, single, None).expect_err("not mapped").to_string();
        assert!(refused.starts_with("group 7 cannot be had here"), "{refused}");
        assert!(fit_to(identity(65_537, 0), many, many, Some(())).is_err());
        assert!(!is_mapped("x y z\n0 0\n", 0));
    }

    #[test]
    fn what_is_mounted_here_needs_no_other_namespace() {
        assert_eq!(holder(Path::new("/proc")), None);
        assert_eq!(holder(Path::new("/nowhere/at all")), None);
    }
}
