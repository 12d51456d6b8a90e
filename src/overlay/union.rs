//! The union of a stack of layers: the engine's one public object. Its operations are in the files named after
//! them; here is what they share.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use crate::format::names::Mark;
use crate::format::override_stat::OverrideStat;
use crate::format::whiteout;
use crate::marks::{Recorded, recorded as read_record};
use crate::sys::fs::{self as sysfs, Stat};
use crate::sys::process;

use super::access::Access;
use super::attr::{Attr, Kind, RealStat};
use super::config::{Config, RedirectDir, XattrPermissions};
use super::error::{Error, Result};
use super::held::HeldFiles;
use super::ids::Ids;
use super::inode::{Inode, NewInode};
use super::marks;
use super::number::LargeNumbers;
use super::object::Object;
use super::observer::Observer;
use super::open_error::OpenError;
use super::real_dir::{DirCache, LayerNo, UPPER};
use super::stack::{Stack, Upper};
use super::state::{DirState, Source, State};
use super::table::InodeTable;

/// A union of layers, with the inodes that are in use. All operations may be called from any thread.
#[derive(Debug)]
pub struct Overlay {
    pub(super) stack: Stack,
    pub(super) config: Settings,
    pub(super) ids: Ids,
    pub(super) table: Arc<InodeTable>,
    pub(super) dirs: DirCache,
    /// Links of lower files that were whited out before any copy-up, by inode number.
    pub(super) lost_links: DashMap<u64, u32>,
    /// The inode numbers shown.
    pub(super) numbers: LargeNumbers,
    /// Held while a directory moves between parents.
    pub(super) moving: parking_lot::Mutex<()>,
    /// Files without a name that are in use.
    pub(super) held: HeldFiles,
    /// Who is told of what changes on the side.
    pub(super) observer: OnceLock<Box<dyn Observer>>,
}

/// The switches of a mount.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether directories with a lower part may be renamed.
    pub redirect_dir: RedirectDir,
    /// Whether hard links stay linked over a copy-up.
    pub index: bool,
    /// Whether attribute changes copy no data.
    pub metacopy: bool,
    /// Whether nothing is synced.
    pub volatile: bool,
    /// Whether POSIX ACLs are offered.
    pub acl: bool,
    /// Whether every file reports one link.
    pub static_nlink: bool,
    /// Whether new files record their owner in an attribute.
    pub record_owner: bool,
    /// Whether the daemon is root of the initial user namespace.
    pub initial_root: bool,
    /// The daemon's own ids, which new files get by themselves.
    pub own: (u32, u32),
}

impl Settings {
    fn new(config: &Config, upper: Option<&Upper>) -> Settings {
        let marks = upper.and_then(|upper| upper.features.marks);
        Settings {
            redirect_dir: config.redirect_dir,
            index: config.index && marks.is_some(),
            metacopy: config.metacopy,
            volatile: config.volatile,
            acl: config.acl,
            static_nlink: config.static_nlink,
            record_owner: config.xattr_permissions != XattrPermissions::Off,
            initial_root: process::is_initial_admin(),
            own: (sysfs::geteuid().as_raw(), sysfs::getegid().as_raw()),
        }
    }
}

impl Overlay {
    /// Puts a union together. The process's umask is cleared and its limit of open files raised.
    ///
    /// # Errors
    /// [`OpenError`] says which directory or option is at fault and what to do.
    pub fn open(config: Config) -> std::result::Result<Overlay, OpenError> {
        let stack = Stack::open(&config)?;
        sysfs::clear_umask();
        let descriptors = process::raise_nofile_limit() as usize;
        let settings = Settings::new(&config, stack.upper.as_ref());
        let table = InodeTable::new((descriptors / 8).clamp(16, 128));
        let ids = Ids::new(&config);
        let dirs = DirCache::new((descriptors / 8).clamp(16, 256));
        open_root(&stack, &table, &dirs).map_err(|e| OpenError::Directory {
            role: "top",
            path: stack.layers().next().map(|l| l.path.clone()).unwrap_or_default(),
            errno: e.errno(),
        })?;
        Ok(Overlay {
            stack,
            config: settings,
            ids,
            table,
            dirs,
            lost_links: DashMap::new(),
            numbers: LargeNumbers::default(),
            moving: parking_lot::Mutex::new(()),
            held: HeldFiles::new(descriptors / 4),
            observer: OnceLock::new(),
        })
    }

    /// The upper layer.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] where there is none.
    pub(super) fn upper(&self) -> Result<&Upper> {
        self.stack.upper.as_ref().ok_or(Error::ReadOnly)
    }

    /// The name of a mark as this mount writes it.
    pub(super) fn mark_name(&self, mark: Mark) -> Option<&'static OsStr> {
        self.stack.upper.as_ref()?.features.marks.map(|ns| ns.xattr(mark))
    }

    /// The directory of the index of hard links.
    pub(super) fn index_dir(&self) -> Option<Arc<OwnedFd>> {
        self.stack.upper.as_ref()?.work.index.clone()
    }

    /// The inode behind the kernel's number.
    pub(super) fn inode(&self, node: u64) -> Result<Arc<Inode>> {
        self.table.get(node)
    }

    /// The attributes a layer holds for a file.
    pub(super) fn real_stat(&self, access: &Access, layer: LayerNo, kind: Option<Kind>) -> Result<RealStat> {
        self.recorded_stat(access.stat()?, access, layer, kind)
    }

    /// The same where the inode's own are known: what is recorded beside them at `access` goes before.
    fn recorded_stat(
        &self,
        mut st: Stat,
        access: &Access,
        layer: LayerNo,
        kind: Option<Kind>,
    ) -> Result<RealStat> {
        let layer = self.stack.layer(layer);
        let recorded = layer.is_some_and(|l| l.override_stat);
        // An empty file may stand for a device 0:0 of a user's own, which a layer cannot hold as it is.
        let empty = Kind::of_mode(st.st_mode) == Kind::File && st.st_size == 0;
        let stand_in = empty && matches!(kind, None | Some(Kind::Char));
        if !recorded && !stand_in {
            return Ok(RealStat { st, over: None });
        }
        let Some(layer) = layer else { return Ok(RealStat { st, over: None }) };
        let plain =
            OverrideStat { uid: st.st_uid, gid: st.st_gid, mode: st.st_mode & 0o7777, file_type: None };
        let over = match read_record(access.xattrs(), &st, &layer.trust)? {
            Some(Recorded::All(over)) if recorded => Some(over),
            // Outside layers that record owners only the type counts.
            Some(Recorded::All(OverrideStat { file_type, .. })) => Some(OverrideStat { file_type, ..plain }),
            Some(Recorded::Type(stands_for)) => Some(OverrideStat { file_type: Some(stands_for), ..plain }),
            Some(Recorded::Damaged(_)) | None => None,
        };
        if let (None, Some(keeper)) = (&over, layer.keeper) {
            (st.st_uid, st.st_gid) = keeper.unrecorded_owner(st.st_uid, st.st_gid);
        }
        Ok(RealStat { st, over })
    }

    /// The marks of a file of a layer.
    pub(super) fn marks_in(&self, layer: LayerNo, access: &Access) -> Result<marks::Marks> {
        let layer = self.stack.layer(layer).ok_or(Error::NotFound)?;
        marks::read(access.xattrs(), &layer.trust)
    }

    /// Whether marks that lead elsewhere will be believed on a file of the upper that belongs to this user on disk.
    pub(super) fn believes_marks_of(&self, uid: u32) -> bool {
        let upper = self.stack.upper.as_ref();
        upper.is_some_and(|u| u.features.marks.is_none_or(|ns| u.layer.trust.believes(ns, uid)))
    }

    /// Whether ids in a layer's files are those to show, as its mount maps them itself.
    pub(super) fn is_premapped(&self, layer: LayerNo) -> bool {
        self.stack.layer(layer).is_some_and(|l| l.idmapped)
    }

    /// The attributes to show for a file.
    pub(super) fn attr_of(&self, inode: &Inode, real: &RealStat) -> Attr {
        let (layer, merged, nlink, in_work, side_change) = {
            let state = inode.state.read();
            let side_change = state.dir.as_ref().and_then(|d| d.side_change.as_deref().copied());
            let merged = state.dir.as_ref().is_some_and(|d| d.sources.len() > 1);
            let nlink = state.file.as_ref().and_then(|f| f.nlink);
            let in_work = state.file.as_ref().is_some_and(|f| f.is_in_work());
            (state.layer, merged, nlink, in_work, side_change)
        };
        let owner = real.owner();
        let (uid, gid) = if self.is_premapped(layer) {
            self.ids.shown_premapped(owner.0, owner.1)
        } else {
            self.ids.shown(owner.0, owner.1)
        };
        let [atime, mtime, mut ctime] = real.times();
        if let Some(change) = side_change.filter(|change| change.ctime == ctime) {
            ctime = change.shown;
        }
        let lost =
            if self.lost_links.is_empty() { 0 } else { self.lost_links.get(&inode.ino).map_or(0, |n| *n) };
        let nlink = match nlink {
            _ if self.config.static_nlink || merged => 1,
            Some(n) => n,
            None if inode.is_unlinked() => 0,
            None => (real.st.st_nlink as u32).saturating_sub(lost + u32::from(in_work)),
        };
        let device = matches!(inode.kind, Kind::Char | Kind::Block);
        Attr {
            ino: inode.ino,
            kind: inode.kind,
            perm: real.perm(),
            nlink,
            uid,
            gid,
            size: real.st.st_size as u64,
            blocks: real.st.st_blocks as u64,
            blksize: real.st.st_blksize as u32,
            rdev: if device { device_number(real) } else { 0 },
            atime,
            mtime,
            ctime,
        }
    }

    /// The attributes of an inode as they are now.
    pub(super) fn attr(&self, inode: &Inode) -> Result<Attr> {
        if let Some(last) = inode.state.read().dir.as_ref().and_then(|d| d.removed.as_deref().copied()) {
            return Ok(last);
        }
        let real = self.of_one_layer(inode, |layer| self.current_stat(inode, layer))?;
        let mut attr = self.attr_of(inode, &real);
        if inode.kind == Kind::File && attr.size > 0 && attr.blocks * 512 < attr.size {
            self.count_data_blocks(inode, &mut attr);
        }
        Ok(attr)
    }

    /// Asks something of the file in the layer it lies in, again where it was copied up meanwhile.
    pub(super) fn of_one_layer<T>(&self, inode: &Inode, ask: impl Fn(LayerNo) -> Result<T>) -> Result<T> {
        let layer = inode.state.read().layer;
        let answer = ask(layer);
        if inode.state.read().layer == layer { answer } else { ask(UPPER) }
    }

    fn current_stat(&self, inode: &Inode, layer: LayerNo) -> Result<RealStat> {
        if self.stack.layer(layer).is_some_and(|l| l.override_stat) || inode.kind == Kind::Char {
            // Attributes and what is recorded beside them must be of one file.
            return self.real_stat(&self.access(inode)?, layer, Some(inode.kind));
        }
        let (st, access) = self.stat(inode)?;
        self.recorded_stat(st, &access, layer, Some(inode.kind))
    }

    /// Whether the mount is served by root of the initial user namespace.
    pub fn is_initial_root(&self) -> bool {
        self.config.initial_root
    }

    /// Whether a layer lies on a file system that is itself stacked on others.
    pub fn is_stacked(&self) -> bool {
        self.stack.layers().any(|layer| layer.stacked)
    }

    /// Refuses the names that mark deletions in layers.
    pub(super) fn check_name(name: &OsStr) -> Result<()> {
        if whiteout::is_reserved(name) { Err(Error::ReservedName) } else { Ok(()) }
    }
}

/// The device number recorded or on disk.
pub(super) fn device_number(real: &RealStat) -> u64 {
    use crate::format::override_stat::OverrideType;
    match real.over.as_ref().and_then(|o| o.file_type.as_ref()) {
        Some(OverrideType::Block(major, minor) | OverrideType::Char(major, minor)) => {
            sysfs::makedev(*major, *minor)
        }
        _ => real.st.st_rdev,
    }
}

/// The inode of the root: all layers' roots down to the first opaque one.
fn open_root(stack: &Stack, table: &Arc<InodeTable>, dirs: &DirCache) -> Result<Arc<Inode>> {
    let mut sources = Vec::new();
    let mut top = None;
    let mut impure = false;
    for layer in stack.layers() {
        let fd = dirs.fd(&layer.root)?;
        let access = Access::Fd(fd.clone());
        let found = marks::read(access.xattrs(), &layer.trust)?;
        if top.is_none() {
            top = Some(access.stat()?);
        }
        impure |= layer.root.layer == UPPER && found.impure;
        let file_whiteouts = found.opaque == marks::Opaque::FileWhiteouts;
        sources.push(Source { dir: layer.root.clone(), file_whiteouts });
        if found.opaque == marks::Opaque::Yes || marks::has_opaque_file(&fd)? {
            break;
        }
    }
    let layer = sources.first().map_or(UPPER, |s| s.dir.layer);
    let dir = Box::new(DirState { sources, impure, ..DirState::default() });
    let top = top.ok_or(Error::NotFound)?;
    let (name, object) = (OsStr::new("").into(), Object::of(&top));
    let state = State { parent: None, name, object, layer, dir: Some(dir), file: None };
    Ok(table.insert_root(NewInode { ino: top.st_ino, kind: Kind::Directory, known: 0, state }))
}
