//! What a sandbox needs before its program runs: its parts found, the directories of its unions made, their options,
//! the bundle.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::caller::{Caller, Privilege};
use super::mounts::{self, Shown};
use super::spec::{self, SandboxBundle};
use super::{PARTS, Sandbox, Union};
use crate::mount::{LowerMarks, Nesting, Options, mountinfo};
use crate::oci::config::RunConfig;
use crate::run::container::{Instance, make_dir, remove_file, write_json};
use crate::run::error::RunError;
use crate::run::rootless::Rights;
use crate::run::status::{ProcessId, Record};
use crate::run::{limits, seccomp};
use crate::sys::Errno;
use crate::sys::fs::{
    CWD, Mode, O_DIRPATH, OFlags, Timespec, Timestamps, chmod_fd, chown_fd, openat, utimens_fd,
};
use crate::sys::inherited::drop_acls;
use crate::sys::xattr::{Target, getxattr_opt, setxattr};

/// Attributes that decide who may reach what is in a directory.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// The mounts that a sandbox is made of, as they are now.
#[derive(Debug)]
pub struct Layout {
    /// Directories that get a union each.
    pub sandbox: Sandbox,
    /// The flags of the unions, that of the root first.
    flags: Vec<Vec<&'static str>>,
    /// Single files on mounts of their own.
    files: Vec<PathBuf>,
}

impl Layout {
    /// Finds them. What lies in `hidden`, where containers are kept, is left out, and what this user cannot reach.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn find(hidden: &Path, caller: &Caller) -> Result<Layout, RunError> {
        let entries = mountinfo::read().map_err(RunError::system("read", "/proc/self/mountinfo"))?;
        let mut layout = Layout {
            sandbox: Sandbox { parts: Vec::new(), user: caller.uid() },
            flags: vec![mounts::root_flags(&entries)],
            files: Vec::new(),
        };
        for Shown { path, flags } in mounts::shown(&entries, hidden) {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() && path.to_str().is_some() => {
                    layout.sandbox.parts.push(path);
                    layout.flags.push(flags);
                }
                Ok(meta) if meta.is_file() && path.to_str().is_some() => layout.files.push(path),
                Ok(_) => log::info!("{} is not shown in the sandbox", path.display()),
                Err(e) => log::info!("{} is not shown in the sandbox: {e}", path.display()),
            }
        }
        Ok(layout)
    }

    /// The options of each union's mount, in the order of [`Sandbox::unions`]. `shown_as` names the container.
    ///
    /// # Errors
    /// None in practice.
    pub fn options(&self, unions: &[Union], shown_as: &str) -> Result<Vec<Options>, RunError> {
        unions.iter().zip(&self.flags).map(|(union, flags)| options(union, flags, shown_as)).collect()
    }
}

/// A device of the machine opened through a union would be the device itself, so none can be. Renaming a directory of
/// the machine and changing one of several hard links go the plain way: a copy, that applying understands.
fn options(union: &Union, flags: &[&str], shown_as: &str) -> Result<Options, RunError> {
    let mut options = Options::default();
    options.read(OsStr::new("nodev,redirect_dir=off,index=off,metacopy=off"))?;
    for flag in flags {
        options.read(OsStr::new(flag))?;
    }
    if Rights::own() == Rights::Namespace {
        // Ids that the namespace lacks could not be shown, nor be written to the upper.
        options.read(OsStr::new("nosuid,squash_to_uid=0,squash_to_gid=0"))?;
    }
    options.overlay.lowers = vec![union.path.clone()];
    (options.overlay.upper, options.overlay.work) = (Some(union.upper.clone()), Some(union.work.clone()));
    options.overlay.nesting = Nesting::Hidden;
    // Nobody made the machine's directories for a union: a mark in one is a user's own, whoever that is.
    options.overlay.lower_marks = LowerMarks::Ignored;
    options.source = Some(format!("plyfs:{shown_as}").into());
    options.finish()?;
    Ok(options)
}

/// Makes the directories of the unions, and a first record, by which what is left is found should this process be
/// killed.
///
/// # Errors
/// One cannot be made.
pub fn make_directories(instance: &Instance, unions: &[Union]) -> Result<Record, RunError> {
    make_dir(&instance.dir)?;
    let record = Record { supervisor: ProcessId::own(), ..Record::default() };
    record.write(&instance.dir)?;
    make_dir(&instance.root.with_file_name(PARTS))?;
    for union in unions {
        for dir in [&union.work, &union.merged] {
            fs::create_dir_all(dir).map_err(RunError::system("make", dir))?;
        }
        let opened = fs::File::open(&union.work).map_err(RunError::system("open", &union.work))?;
        drop_acls(&opened).map_err(|e| RunError::system("change", &union.work)(e.into()))?;
        make_upper(instance, union)?;
    }
    Ok(record)
}

/// Makes the upper of a union, and the directories above it in the uppers of others, as the machine's own are.
fn make_upper(instance: &Instance, union: &Union) -> Result<(), RunError> {
    let top = instance.root.with_file_name("upper");
    let (mut real, mut copy) = (PathBuf::from("/"), top.clone());
    let names: Vec<_> = union.path.components().skip(1).collect();
    if names.is_empty() {
        return dress(&real, &copy);
    }
    for name in names {
        (real, copy) = (real.join(name), copy.join(name));
        if !copy.is_dir() {
            make_dir(&copy)?;
        }
    }
    // The times of those above change when something is made in them: they come last.
    while copy.starts_with(&top) {
        dress(&real, &copy)?;
        if !(real.pop() && copy.pop()) {
            break;
        }
    }
    Ok(())
}

/// Gives the directory `copy` mode, ACL and time of `real`, and the owner where this process may.
fn dress(real: &Path, copy: &Path) -> Result<(), RunError> {
    let meta = fs::metadata(real).map_err(RunError::system("look at", real))?;
    let failed = |e: Errno| RunError::system("change", copy)(e.into());
    let fd = openat(CWD, copy, O_DIRPATH, Mode::empty()).map_err(failed)?;
    if Rights::own() == Rights::Machine {
        chown_fd(fd.as_fd(), Some(meta.uid()), Some(meta.gid())).map_err(failed)?;
    }
    drop_acls(&fd).map_err(failed)?;
    chmod_fd(fd.as_fd(), Mode::from_raw_mode(meta.mode() & 0o7777)).map_err(failed)?;
    let from = openat(CWD, real, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    for name in ACLS.map(OsStr::new) {
        let value = getxattr_opt(Target::Fd(from.as_fd()), name).map_err(failed)?;
        match value.map(|value| setxattr(Target::Fd(fd.as_fd()), name, &value, 0)) {
            // The upper's file system has none, or the ACL names ids that the namespace lacks.
            Some(Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM)) | Some(Ok(())) | None => {}
            Some(Err(e)) => return Err(failed(e)),
        }
    }
    let last_modification = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() };
    let last_access = Timespec { tv_sec: meta.atime(), tv_nsec: meta.atime_nsec() };
    utimens_fd(fd.as_fd(), &Timestamps { last_access, last_modification }).map_err(failed)
}

/// Writes the bundle of a sandbox whose unions are mounted, and marks the beginning.
///
/// # Errors
/// The program is none; a file cannot be written.
pub fn write_bundle(
    instance: &Instance,
    layout: &Layout,
    config: &RunConfig,
    caller: &Caller,
    hidden: &Path,
) -> Result<(), RunError> {
    let role = caller.role();
    let (seccomp, choice) = seccomp::profile()?;
    log::debug!("seccomp profile: {choice:?}, {:?}", role.privilege == Privilege::None);
    let files: Vec<&Path> = layout.files.iter().map(PathBuf::as_path).collect();
    let bundle = spec::bundle(SandboxBundle {
        id: instance.container.id.as_str(),
        unions: &layout.sandbox.unions(&instance.root),
        files: &files,
        config,
        settings: &instance.settings,
        role: &role,
        hidden,
        cgroups: limits::cgroups(),
        rights: Rights::own(),
        seccomp,
    })?;
    write_json(&bundle_file(instance), &bundle)?;
    super::begin(instance)
}

/// Removes the bundle: it holds the caller's whole environment, which nobody needs any more.
///
/// # Errors
/// What the system says.
pub fn remove_bundle(instance: &Instance) -> Result<(), RunError> {
    remove_file(&bundle_file(instance))
}

fn bundle_file(instance: &Instance) -> PathBuf {
    instance.dir.join("config.json")
}
