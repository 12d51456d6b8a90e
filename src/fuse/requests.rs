//! The requests of the kernel, one method each: convert, call the engine, answer. What decides is in the files
//! beside this one.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::overlay::{Changes, Kind, NewFile, NewMode, ROOT_NODE, RenameMode, SetIds, Span};

use super::convert::{caller, decode_device, errno, file_attr, file_type, no_attr, set_time};
use super::core::{GENERATION, WRITER, reply_empty, reply_xattr};
use super::opens::Wish;
use super::protocol::agree;
use super::service::Service;

/// Reads from here on are left to the workers.
const LARGE_READ: u32 = 256 << 10;

impl Filesystem for Service {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let passthrough = agree(&self.core.overlay, &self.core.options, config)?;
        self.core.passthrough.store(passthrough, Ordering::Relaxed);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _turn = self.busy_poll.turn();
        self.core.reply_entry(self.core.overlay.lookup(parent.0, name), reply);
    }

    fn forget(&self, _request: &Request, node: INodeNo, nlookup: u64) {
        self.core.overlay.forget(node.0, nlookup);
        self.busy_poll.look_out();
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let _turn = self.busy_poll.turn();
        match self.core.overlay.getattr(node.0) {
            Ok(attr) => reply.attr(&self.core.ttl, &file_attr(&attr, attr.ino)),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let _turn = self.busy_poll.turn();
        let changes =
            Changes { mode, uid, gid, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        let ids = self.core.set_ids(request.uid());
        let slow = self.is_slow(node) && (size.is_some() || !self.core.overlay.copies_metadata_alone());
        self.change(slow, move |core| core.setattr(node, changes, ids, reply));
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        let _turn = self.busy_poll.turn();
        match self.core.overlay.readlink(node.0) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let _turn = self.busy_poll.turn();
        let new = match Kind::of_mode(mode) {
            Kind::File => NewFile::Regular,
            kind => NewFile::Node(kind, decode_device(rdev)),
        };
        self.make(request, parent, name, new, NewMode { mode: mode & 0o7777, umask }, reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let _turn = self.busy_poll.turn();
        self.make(request, parent, name, NewFile::Directory, NewMode { mode: mode & 0o7777, umask }, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.busy_poll.turn();
        let name = name.to_os_string();
        self.change(false, move |core| reply_empty(core.overlay.unlink(parent.0, &name), reply));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.busy_poll.turn();
        let name = name.to_os_string();
        self.change(false, move |core| reply_empty(core.overlay.rmdir(parent.0, &name), reply));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _turn = self.busy_poll.turn();
        let (name, target, caller) = (name.to_os_string(), target.to_owned(), caller(request));
        self.change(false, move |core| {
            let new = NewFile::Symlink(target.as_os_str());
            let mode = NewMode { mode: 0o777, umask: 0 };
            let made = core.overlay.create(parent.0, &name, new, mode, caller);
            core.reply_entry(made.map(Some), reply);
        });
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let _turn = self.busy_poll.turn();
        let mode = if flags.is_empty() {
            RenameMode::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameMode::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            RenameMode::Exchange
        } else {
            return reply.error(Errno::EINVAL);
        };
        let (name, newname) = (name.to_os_string(), newname.to_os_string());
        self.change(false, move |core| {
            let renamed = core.overlay.rename((parent.0, &name), (newparent.0, &newname), mode);
            reply_empty(renamed, reply);
        });
    }

    fn link(
        &self,
        _request: &Request,
        node: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let _turn = self.busy_poll.turn();
        let (slow, newname) = (self.is_slow(node), newname.to_os_string());
        self.change(slow, move |core| {
            core.reply_entry(core.overlay.link(node.0, newparent.0, &newname).map(Some), reply);
        });
    }

    fn open(&self, request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.busy_poll.turn();
        if !self.core.passes_through() {
            return reply.error(Errno::ENOSYS);
        }
        let wish = self.wish(flags, request.uid());
        if wish.write || wish.truncate {
            return self.change(self.is_slow(node), move |core| core.open(node, wish, reply));
        }
        self.core.open(node, wish, reply);
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _turn = self.busy_poll.turn();
        self.dispatch(size >= LARGE_READ, move |core| core.read(node, offset, size, reply));
    }

    fn write(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _turn = self.busy_poll.turn();
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let ids = if kill { SetIds::Drop } else { SetIds::Keep };
        let slow = self.is_slow(node);
        // What mappings wrote is on its way from the page cache: its writer is not waiting for it, but memory may
        // be, and so may readers, who share a queue in the kernel with it.
        if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            if !slow {
                return self.core.write(node, offset, data, ids, reply);
            }
            let data = data.to_vec();
            return self.dispatch(true, move |core| core.write(node, offset, &data, ids, reply));
        }
        if !slow && let Some(pass) = self.gate.pass() {
            self.core.write(node, offset, data, ids, reply);
            return drop(pass);
        }
        let data = data.to_vec();
        self.change(slow, move |core| core.write(node, offset, &data, ids, reply));
    }

    fn release(
        &self,
        _request: &Request,
        node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.busy_poll.turn();
        let moved = self.core.opens.release(node.0, handle == WRITER);
        reply.ok();
        if let (true, Some(notifier)) = (moved, self.core.notifier.get())
            && let Err(e) = notifier.inval_inode(node, -1, 0)
        {
            log::debug!("attributes of node {node} not dropped: {e}");
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.busy_poll.turn();
        self.dispatch(true, move |core| reply_empty(core.overlay.fsync(node.0, datasync), reply));
    }

    fn opendir(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _turn = self.busy_poll.turn();
        let listed = self.core.overlay.list(node.0, offset, |line| {
            !reply.add(INodeNo(line.ino), line.next, file_type(line.kind), &line.name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _turn = self.busy_poll.turn();
        let core = &self.core;
        let mut failure = None;
        let listed = core.overlay.list(node.0, offset, |line| {
            if line.name == "." || line.name == ".." {
                let attr = fuser::FileAttr { kind: fuser::FileType::Directory, ..no_attr() };
                let attr = fuser::FileAttr { ino: INodeNo(line.ino.max(ROOT_NODE)), ..attr };
                return !reply.add(
                    INodeNo(line.ino),
                    line.next,
                    &line.name,
                    &Duration::ZERO,
                    &attr,
                    GENERATION,
                );
            }
            let entry = match core.overlay.lookup_listed(node.0, &line.name) {
                Ok(Some(entry)) => entry,
                Ok(None) => return true,
                Err(e) => {
                    failure = Some(e);
                    return false;
                }
            };
            let ttl = core.entry_ttls(&entry).0;
            let attr = file_attr(&entry.attr, entry.node);
            let full = reply.add(INodeNo(entry.node), line.next, &line.name, &ttl, &attr, GENERATION);
            if full {
                core.overlay.forget(entry.node, 1);
            }
            !full
        });
        match (listed, failure) {
            (Ok(()), None) => reply.ok(),
            (Err(e), _) | (_, Some(e)) => reply.error(errno(e)),
        }
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.dispatch(true, move |core| reply_empty(core.overlay.fsync_dir(node.0), reply));
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        let _turn = self.busy_poll.turn();
        match self.core.overlay.statfs() {
            Ok(st) => reply.statfs(
                st.f_blocks,
                st.f_bfree,
                st.f_bavail,
                st.f_files,
                st.f_ffree,
                st.f_bsize as u32,
                st.f_namemax as u32,
                st.f_frsize as u32,
            ),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let _turn = self.busy_poll.turn();
        let (name, value, caller) = (name.to_os_string(), value.to_vec(), caller(request));
        self.change(false, move |core| {
            reply_empty(core.overlay.setxattr(node.0, &name, &value, flags as u32, caller), reply);
        });
    }

    fn getxattr(&self, _request: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _turn = self.busy_poll.turn();
        reply_xattr(self.core.overlay.getxattr(node.0, name), size, reply);
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let _turn = self.busy_poll.turn();
        let names = self.core.overlay.listxattr(node.0, caller(request)).map(|names| {
            let mut list = Vec::new();
            for name in names {
                list.extend_from_slice(name.as_encoded_bytes());
                list.push(0);
            }
            list
        });
        reply_xattr(names, size, reply);
    }

    fn removexattr(&self, _request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.busy_poll.turn();
        let name = name.to_os_string();
        self.change(false, move |core| reply_empty(core.overlay.removexattr(node.0, &name), reply));
    }

    fn access(&self, _request: &Request, _node: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // default_permissions: the kernel decides and need not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let _turn = self.busy_poll.turn();
        let mode = NewMode { mode: mode & 0o7777, umask };
        let wish = Wish { truncate: false, ..self.wish(OpenFlags(flags), request.uid()) };
        let (name, caller) = (name.to_os_string(), caller(request));
        self.change(false, move |core| {
            match core.overlay.create_open(parent.0, &name, NewFile::Regular, mode, caller) {
                Ok((entry, file)) => core.finish_create(&entry, file, wish, reply),
                Err(e) => reply.error(errno(e)),
            }
        });
    }

    fn ioctl(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let _turn = self.busy_poll.turn();
        let ids = self.core.set_ids(request.uid());
        let span = Span { offset, length };
        self.change(true, move |core| reply_empty(core.overlay.fallocate(node.0, span, mode, ids), reply));
    }

    fn lseek(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let _turn = self.busy_poll.turn();
        match self.core.overlay.lseek(node.0, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        _from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _to_handle: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let ids = self.core.set_ids(request.uid());
        self.change(true, move |core| {
            let (from, to) = ((from.0, from_offset), (to.0, to_offset));
            match core.overlay.copy_file_range(from, to, length, ids) {
                Ok(copied) => reply.written(copied as u32),
                Err(e) => reply.error(errno(e)),
            }
        });
    }
}
