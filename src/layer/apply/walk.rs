//! The walk over upper and tree together.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::attributes::{is_modified_at, is_owned_so, set_owner_and_mode, set_time, set_xattrs, xattrs};
use super::build::Builder;
use super::decide::{Ours, Publish, Step, Theirs, plan_publish, plan_step};
use super::error::{ApplyError, Conflict, Why};
use super::real::{Limits, RealDir, Telling, changed, is_same_state};
use super::same::is_same;
use super::{Attempt, Owners, Request};
use crate::format::acl;
use crate::format::names::Mark;
use crate::format::origin::Origin;
use crate::layer::node::{Entry, Kind, Node};
use crate::layer::source::{Dir, Located};
use crate::marks::Role;
use crate::sys::Errno;
use crate::sys::dir::remove_tree;
use crate::sys::fs::{self, AtFlags, FileType, RenameFlags, Stat, geteuid, renameat_with, unlinkat};
use crate::sys::process::raise_nofile_limit;
use crate::sys::xattr::{Target, getxattr_opt};

const STICKY: u32 = 0o1000;

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To find what stands against applying.
    Check,
    /// To apply.
    Carry,
}

/// A walk.
pub struct Walk<'a> {
    request: &'a Request<'a>,
    mode: Mode,
    limits: Limits,
    user: u32,
    builder: Builder,
    conflicts: Vec<Conflict>,
    /// How many names were made beside their place.
    made: u64,
    /// The inode numbers of what the upper takes the place of.
    seen: HashSet<u64>,
    /// What the upper has of a file of the tree where the tree has nothing, and that file's inode number.
    absent: Vec<(PathBuf, u64)>,
}

impl<'a> Walk<'a> {
    /// A walk that has not begun.
    ///
    /// # Errors
    /// The directory that must stay cannot be looked at.
    pub fn new(request: &'a Request<'a>, mode: Mode) -> Result<Walk<'a>, ApplyError> {
        raise_nofile_limit();
        let kept_out = match fs::statat(fs::CWD, request.kept_out, AtFlags::empty()) {
            Ok(stat) => Some((stat.st_dev, stat.st_ino)),
            Err(Errno::NOENT) => None,
            Err(source) => {
                let path = request.kept_out.to_owned();
                return Err(ApplyError::System { path, action: "look at", source });
            }
        };
        Ok(Walk {
            request,
            mode,
            limits: Limits { began: request.began, telling: telling(mode, request.attempt), kept_out },
            user: geteuid().as_raw(),
            builder: Builder { owners: request.owners, links: HashMap::new() },
            conflicts: Vec::new(),
            made: 0,
            seen: HashSet::new(),
            absent: Vec::new(),
        })
    }

    /// Walks.
    pub fn run(mut self) -> Result<(), ApplyError> {
        let upper = Rc::new(Dir::open_root(self.request.upper, Role::Upper)?);
        let Entry::Node(root) = upper.root_node()? else {
            let path = self.request.upper.to_owned();
            return Err(ApplyError::System { path, action: "read", source: Errno::NOTDIR });
        };
        let real = Rc::new(RealDir::root(self.request.target)?);
        self.directory(&upper, &root, &real)?;
        self.judge_absent();
        match self.conflicts.is_empty() {
            true => Ok(()),
            false => Err(ApplyError::Conflicts(self.conflicts)),
        }
    }

    /// What is not in the tree was renamed in the upper if the tree's file is one that the upper replaces or removes
    /// elsewhere. Otherwise the tree lost it. An attempt that was stopped may have removed it itself.
    fn judge_absent(&mut self) {
        if self.mode == Mode::Carry || self.request.attempt == Attempt::Repeated {
            return;
        }
        let absent = std::mem::take(&mut self.absent);
        let gone = absent.into_iter().filter(|(_, inode)| !self.seen.contains(inode));
        self.conflicts.extend(gone.map(|(path, _)| Conflict { path, why: Why::Gone }));
    }

    /// Applies one directory to another.
    fn directory(&mut self, upper: &Rc<Dir>, own: &Node, real: &Rc<RealDir>) -> Result<(), ApplyError> {
        let mut entries = Vec::new();
        for (name, entry) in upper.list()? {
            entries.push(match entry {
                Entry::Whiteout => (name, Ours::Whiteout, None),
                Entry::Node(node) => {
                    let said = ours(upper, &name, &node)?;
                    (name.clone(), said, Some(Located { dir: upper.clone(), name, node }))
                }
            });
        }
        let replaces = entries.iter().any(|(_, said, _)| *said != Ours::Merging);
        if self.mode == Mode::Carry && replaces {
            self.sweep(real)?;
        }
        self.dress(upper, own, real, if replaces { Touched::Yes } else { Touched::No })?;
        let mut written = false;
        for (name, said, place) in entries {
            written |= self.name(real, &name, said, place)? == Did::Write;
        }
        if written { real.sync() } else { Ok(()) }
    }

    /// Takes away what an earlier attempt left.
    fn sweep(&self, real: &RealDir) -> Result<(), ApplyError> {
        for name in real.names_with(self.prefix().as_bytes()) {
            remove(real, &name)?;
        }
        Ok(())
    }

    /// Applies one name.
    fn name(
        &mut self,
        real: &Rc<RealDir>,
        name: &OsStr,
        said: Ours,
        place: Option<Located>,
    ) -> Result<Did, ApplyError> {
        let stat = real.stat(name)?;
        let theirs = stat.as_ref().map_or(Theirs::Absent, theirs);
        if let (Ours::Merging, Some(place)) = (said, &place)
            && self.is_above_mounts(&real.path_of(name))
        {
            // It was made to hold what is changed on a mount; where nothing was, the mount may have gone since.
            return match (holds_something(place)?, theirs) {
                (false, Theirs::Directory) if self.request.mounts.contains(&real.path_of(name)) => {
                    self.dress_mount(place, real)
                }
                (_, Theirs::Directory) => self.descend(place, real),
                (false, _) => Ok(Did::Nothing),
                (true, _) => self.against(real, name, Why::Gone),
            };
        }
        match (plan_step(said, theirs), place, stat) {
            (Step::Descend, Some(place), Some(_)) => self.descend(&place, real),
            (Step::Remove, _, Some(stat)) => self.remove(real, name, &stat),
            (Step::Put, Some(place), stat) => self.put(&place, real, stat.as_ref()),
            _ => Ok(Did::Nothing),
        }
    }

    fn descend(&mut self, place: &Located, real: &RealDir) -> Result<Did, ApplyError> {
        match real.open(&place.name, self.request.mounts)? {
            Ok(inside) => {
                let upper = Rc::new(place.dir.open_dir(&place.name, &place.node)?);
                self.directory(&upper, &place.node, &Rc::new(inside))?;
                Ok(Did::Nothing)
            }
            Err(why) => self.against(real, &place.name, why),
        }
    }

    /// Applies to the root of a mount, if it is there, what the upper says of it alone.
    fn dress_mount(&mut self, place: &Located, real: &RealDir) -> Result<Did, ApplyError> {
        let mounted = real.open(&place.name, self.request.mounts)?;
        match mounted {
            Ok(_) => self.descend(place, real),
            Err(_) => Ok(Did::Nothing),
        }
    }

    /// Whether the directory is on the way to a mount of the tree, or the root of one.
    fn is_above_mounts(&self, path: &Path) -> bool {
        path == self.request.target || self.request.mounts.iter().any(|mount| mount.starts_with(path))
    }

    fn remove(&mut self, real: &Rc<RealDir>, name: &OsStr, stat: &Stat) -> Result<Did, ApplyError> {
        if let Some(why) = self.removal_obstacle(real, name, stat)? {
            return self.against(real, name, why);
        }
        if self.mode == Mode::Check {
            return Ok(Did::Nothing);
        }
        self.expect_state(real, name, Some(stat))?;
        if theirs(stat) == Theirs::Directory {
            // All of it is gone at once; what it held goes afterwards.
            let aside = self.beside();
            rename(real, name, &aside, RenameFlags::NOREPLACE)?;
            remove(real, &aside)?;
        } else {
            unlinkat(real.fd(), name, AtFlags::empty()).map_err(|e| real.failed(name, "remove", e))?;
        }
        Ok(Did::Write)
    }

    fn put(&mut self, place: &Located, real: &Rc<RealDir>, stat: Option<&Stat>) -> Result<Did, ApplyError> {
        let name = place.name.as_os_str();
        if place.node.kind == Kind::Socket {
            log::warn!("{} is a socket and left out", real.path_of(name).display());
            return Ok(Did::Nothing);
        }
        if let Some(stat) = stat
            && self.is_linked_alike(place, stat)?
            && is_same(place, real, name, stat, self.request.owners)?
        {
            self.seen.insert(stat.st_ino);
            self.builder.remember(&place.node, real, name);
            return Ok(Did::Nothing);
        }
        if let Some(why) = self.replacement_obstacle(place, real, stat)? {
            return self.against(real, name, why);
        }
        if self.mode == Mode::Check {
            return Ok(Did::Nothing);
        }
        let beside = self.beside();
        let made = self.builder.make(place, real, &beside).and_then(|()| {
            self.expect_state(real, name, stat)?;
            publish(real, &beside, name, new_kind(&place.node), stat.map_or(Theirs::Absent, theirs))
        });
        if made.is_err() && real.stat(&beside)?.is_some() {
            remove(real, &beside)?;
        }
        made?;
        self.builder.remember(&place.node, real, name);
        Ok(Did::Write)
    }

    /// Whether a file with several names in the upper is, in the tree, the very file that its first name is.
    fn is_linked_alike(&self, place: &Located, stat: &Stat) -> Result<bool, ApplyError> {
        let Some((dir, name)) = self.builder.links.get(&place.node.inode) else { return Ok(true) };
        let first = dir.stat(name)?;
        Ok(first.is_some_and(|first| (first.st_dev, first.st_ino) == (stat.st_dev, stat.st_ino)))
    }

    fn removal_obstacle(
        &mut self,
        real: &RealDir,
        name: &OsStr,
        stat: &Stat,
    ) -> Result<Option<Why>, ApplyError> {
        let limits = self.limits;
        let mut note = |stat: &Stat| self.seen.extend([stat.st_ino]);
        if let Some(why) = real.obstacle(name, stat, &limits, &mut note)? {
            return Ok(Some(why));
        }
        let parent = fs::fstat(real.fd()).map_err(|e| real.failed(OsStr::new(""), "look at", e))?;
        let foreign = ![stat.st_uid, parent.st_uid].contains(&self.user);
        let guarded = self.request.owners == Owners::Own && parent.st_mode & STICKY != 0 && foreign;
        Ok((guarded || !real.is_writable()).then_some(Why::Denied))
    }

    fn replacement_obstacle(
        &mut self,
        place: &Located,
        real: &RealDir,
        stat: Option<&Stat>,
    ) -> Result<Option<Why>, ApplyError> {
        let Some(stat) = stat else {
            let origin = place.mark(Mark::Origin)?.and_then(|value| Origin::decode(&value));
            if let Some(inode) = origin.and_then(|origin| origin.inode_number()) {
                self.absent.push((real.path_of(&place.name), inode));
            }
            return Ok((!real.is_writable()).then_some(Why::Denied));
        };
        if let Some(why) = self.removal_obstacle(real, &place.name, stat)? {
            return Ok(Some(why));
        }
        if self.request.owners == Owners::All {
            return Ok(None);
        }
        if stat.st_uid != self.user {
            return Ok(Some(Why::Foreign));
        }
        let list = getxattr_opt(Target::At(real.fd(), &place.name), OsStr::new(acl::ACCESS));
        Ok(list.map_err(|e| real.failed(&place.name, "read", e))?.map(|_| Why::AccessList))
    }

    /// Gives a directory that was there before what the upper says of it.
    fn dress(&mut self, upper: &Dir, own: &Node, real: &RealDir, touched: Touched) -> Result<(), ApplyError> {
        let here = OsStr::new(".");
        let failed = |e: Errno| real.failed(OsStr::new(""), "change", e);
        let stat = fs::fstat(real.fd()).map_err(failed)?;
        let owners = self.request.owners;
        if owners == Owners::Own && stat.st_uid != self.user {
            return Ok(());
        }
        let target = Target::Fd(real.fd());
        let (mut old, mut new) = (
            xattrs(target, owners).map_err(failed)?,
            xattrs(Target::Fd(upper.fd()), owners).map_err(failed)?,
        );
        if self.is_above_mounts(real.path()) {
            // Made for the upper beforehand, with no other attributes.
            old.retain(|name, _| acl::is_acl(name));
            new.retain(|name, _| acl::is_acl(name));
        }
        let late = changed(&stat, self.request.began);
        let dressed = is_owned_so(own, &stat, owners) && old == new;
        let timed = touched == Touched::Yes || late || is_modified_at(&stat, own.mtime);
        if !dressed && late && self.request.attempt == Attempt::First {
            return self.against(real, OsStr::new(""), Why::Changed).map(drop);
        }
        if self.mode == Mode::Check {
            return Ok(());
        }
        if !dressed {
            set_owner_and_mode(real.fd().as_fd(), here, own, owners).map_err(failed)?;
            set_xattrs(target, &old, &new).map_err(failed)?;
        }
        if !timed { set_time(real.fd(), here, own.mtime).map_err(failed) } else { Ok(()) }
    }

    /// Notes what stands against applying; while applying it ends the work.
    fn against(&mut self, real: &RealDir, name: &OsStr, why: Why) -> Result<Did, ApplyError> {
        let path = if name.is_empty() { real.path().to_owned() } else { real.path_of(name) };
        self.conflicts.push(Conflict { path, why });
        match self.mode {
            Mode::Check => Ok(Did::Nothing),
            Mode::Carry => Err(ApplyError::Conflicts(std::mem::take(&mut self.conflicts))),
        }
    }

    /// Fails where a name is not as it was when it was judged.
    fn expect_state(&self, real: &RealDir, name: &OsStr, judged: Option<&Stat>) -> Result<(), ApplyError> {
        let as_judged = match (real.stat(name)?, judged) {
            (None, None) => true,
            (Some(now), Some(judged)) => is_same_state(&now, judged),
            _ => false,
        };
        if as_judged {
            return Ok(());
        }
        Err(ApplyError::Conflicts(vec![Conflict { path: real.path_of(name), why: Why::Changed }]))
    }

    /// A name for what is made beside its place.
    fn beside(&mut self) -> OsString {
        self.made += 1;
        format!("{}{}", self.prefix(), self.made).into()
    }

    fn prefix(&self) -> String {
        format!(".plyfs-{}.", self.request.token)
    }
}

/// Whether names are made or removed in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    Yes,
    No,
}

/// What was done with a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Nothing,
    Write,
}

/// What was not changed when applying began is changed by it in this one respect.
fn telling(mode: Mode, attempt: Attempt) -> Telling {
    match (mode, attempt) {
        (Mode::Check, Attempt::First) => Telling::Change,
        _ => Telling::Modification,
    }
}

/// What the upper says by a file of it.
fn ours(upper: &Dir, name: &OsStr, node: &Node) -> Result<Ours, ApplyError> {
    let merging = node.is_dir() && !upper.open_dir(name, node)?.is_opaque();
    Ok(if merging { Ours::Merging } else { Ours::Whole })
}

/// Whether anything below a directory of the upper is more than a directory to be merged.
fn holds_something(place: &Located) -> Result<bool, ApplyError> {
    let dir = Rc::new(place.dir.open_dir(&place.name, &place.node)?);
    for (name, entry) in dir.list()? {
        let Entry::Node(node) = entry else { return Ok(true) };
        if ours(&dir, &name, &node)? != Ours::Merging {
            return Ok(true);
        }
        if holds_something(&Located { dir: dir.clone(), name, node })? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn theirs(stat: &Stat) -> Theirs {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Theirs::Directory,
        _ => Theirs::Other,
    }
}

fn new_kind(node: &Node) -> Theirs {
    if node.is_dir() { Theirs::Directory } else { Theirs::Other }
}

/// Lets what is called `beside` take `name`.
fn publish(
    real: &RealDir,
    beside: &OsStr,
    name: &OsStr,
    new: Theirs,
    theirs: Theirs,
) -> Result<(), ApplyError> {
    match plan_publish(new, theirs) {
        Publish::New => rename(real, beside, name, RenameFlags::NOREPLACE),
        Publish::Over => rename(real, beside, name, RenameFlags::empty()),
        Publish::Exchange => {
            rename(real, beside, name, RenameFlags::EXCHANGE)?;
            remove(real, beside)
        }
    }
}

fn rename(real: &RealDir, from: &OsStr, to: &OsStr, flags: RenameFlags) -> Result<(), ApplyError> {
    match renameat_with(real.fd(), from, real.fd(), to, flags) {
        // A file system that knows no such rename; that nothing is in the way was seen a moment ago.
        Err(Errno::INVAL) if flags == RenameFlags::NOREPLACE => {
            renameat_with(real.fd(), from, real.fd(), to, RenameFlags::empty())
        }
        other => other,
    }
    .map_err(|e| real.failed(to, "put in place", e))
}

/// Removes a name of ours, a directory with all that is in it.
fn remove(real: &RealDir, name: &OsStr) -> Result<(), ApplyError> {
    match unlinkat(real.fd(), name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => remove_tree(real.fd(), name),
        other => other,
    }
    .map_err(|e| real.failed(name, "remove", e))
}
