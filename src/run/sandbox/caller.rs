//! The caller of a sandbox: whose ids and directory its program has, and what of theirs may not be handed over.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::run::error::RunError;
use crate::run::user::Identity;
use crate::sys::fs::{getegid, geteuid};
use crate::sys::process::getgroups;

/// Who calls, as known before any namespace is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// As whom the program of a sandbox runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// The ids.
    pub identity: Identity,
    /// The `uidMappings` and `gidMappings` of a user namespace of its own, where it has one.
    pub mappings: Option<(Value, Value)>,
    /// Whether it has what root has in a container.
    pub privilege: Privilege,
}

/// What a program may do beyond its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// What docker gives to root.
    Containers,
    /// Nothing, and no set-user-id program gives it more.
    None,
}

/// What the program's standard input may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardInput {
    /// The caller's own.
    Shared,
    /// Its content only: through the open file itself the program could write the file.
    Copied,
}

impl Caller {
    /// The caller, who is this process.
    ///
    /// # Errors
    /// What the system says.
    pub fn own() -> Result<Caller, RunError> {
        let groups =
            getgroups().map_err(|e| RunError::system("read the groups of", "/proc/self")(e.into()))?;
        Ok(Caller {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: groups.into_iter().map(|gid| gid.as_raw()).collect(),
        })
    }

    /// The user's number on this machine.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The role in the namespace that this process is in by now. Where more than one id is mapped there, an ordinary
    /// user keeps their own number; a runtime needs the number 0 beside it.
    pub fn role(&self) -> Role {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        self.role_with(map.lines().count())
    }

    fn role_with(&self, mapped_ranges: usize) -> Role {
        let identity =
            |uid, gid, groups: &[u32]| Identity { uid, gid, groups: groups.to_vec(), home: "/".into() };
        if self.uid == 0 {
            let identity = identity(0, self.gid, &self.groups);
            return Role { identity, mappings: None, privilege: Privilege::Containers };
        }
        if mapped_ranges < 2 || self.gid == 0 {
            return Role { identity: identity(0, 0, &[]), mappings: None, privilege: Privilege::None };
        }
        let map = |id: u32| {
            json!([
                { "containerID": id, "hostID": 0, "size": 1 },
                { "containerID": 0, "hostID": 1, "size": 1 },
            ])
        };
        let mappings = Some((map(self.uid), map(self.gid)));
        Role { identity: identity(self.uid, self.gid, &[]), mappings, privilege: Privilege::None }
    }
}

/// The directory that the program starts in: `typed`, or the caller's, without links.
///
/// # Errors
/// There is none, it is no text, or it lies below /proc, where links lead to what the caller has open.
pub fn working_dir(typed: Option<&str>, here: &Path) -> Result<String, RunError> {
    let asked = here.join(typed.unwrap_or(""));
    let path = fs::canonicalize(&asked).map_err(RunError::system("start in the directory", &asked))?;
    let bad = |fault| RunError::Value { option: "--workdir", text: asked.display().to_string(), fault };
    if !path.is_dir() {
        return Err(bad("it is no directory"));
    }
    if path.starts_with("/proc") {
        return Err(bad("a sandbox has a /proc of its own"));
    }
    path.to_str().map(str::to_owned).ok_or_else(|| bad("it is no UTF-8"))
}

/// How the caller's standard input is handed over.
///
/// # Errors
/// One of the standard streams is a directory: everything below could be reached through it.
pub fn standard_input() -> Result<StandardInput, RunError> {
    let kind = |number: u8| {
        let path = PathBuf::from(format!("/proc/self/fd/{number}"));
        fs::metadata(&path).map(|meta| meta.file_type()).ok()
    };
    for number in 0..=2 {
        if kind(number).is_some_and(|kind| kind.is_dir()) {
            return Err(RunError::Stream { number });
        }
    }
    let is_file = kind(0).is_some_and(|kind| kind.is_file() || kind.is_block_device());
    Ok(if is_file { StandardInput::Copied } else { StandardInput::Shared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_keep_their_number_where_there_are_enough() {
        let root = Caller { uid: 0, gid: 0, groups: vec![4] }.role_with(1);
        assert_eq!((root.identity.uid, root.privilege), (0, Privilege::Containers));
        assert_eq!(root.identity.groups, [4]);
        let ann = Caller { uid: 1000, gid: 100, groups: vec![4, 100] };
        let single = ann.role_with(1);
        assert_eq!((single.identity.uid, single.mappings.is_some()), (0, false));
        assert_eq!(single.privilege, Privilege::None);
        let many = ann.role_with(2);
        assert_eq!((many.identity.uid, many.identity.gid, many.privilege), (1000, 100, Privilege::None));
        let (uids, _) = many.mappings.expect("a namespace");
        assert_eq!(uids[0], json!({ "containerID": 1000, "hostID": 0, "size": 1 }));
    }

    #[test]
    fn the_directory_is_one_without_links_and_not_below_proc() {
        let dir = tempfile::tempdir().expect("a directory");
        let here = fs::canonicalize(dir.path()).expect("there");
        fs::create_dir(here.join("a")).expect("made");
        fs::write(here.join("file"), "").expect("written");
        std::os::unix::fs::symlink("a", here.join("link")).expect("linked");
        std::os::unix::fs::symlink("/proc/self", here.join("magic")).expect("linked");
        let is = |typed, name: &str| {
            assert_eq!(working_dir(typed, &here).expect("good"), here.join(name).display().to_string());
        };
        is(Some("a"), "a");
        is(Some("link/../a"), "a");
        assert_eq!(Path::new(&working_dir(None, &here).expect("good")), here);
        for bad in ["none", "file", "/proc/self/fd", "magic", "magic/cwd/../none"] {
            assert!(working_dir(Some(bad), &here).is_err(), "{bad}");
        }
    }
}
