//! The requests of the kernel, one method each: convert, call the engine, answer. What decides is in the files
//! beside this one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::overlay::{Changes, Error, Kind, NewFile, NewMode, RenameMode, SetIds, Span};

use crate::sys::fs::StatVfs;

use super::convert::{caller, decode_device, errno, set_time};
use super::core::{Core, reply_data, reply_empty, reply_xattr};
use super::listing::{fill, fill_plus};
use super::opens::{OpenRequest, Opened};
use super::protocol::agree;
use super::resizing::Resize;
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
        let _turn = self.core.readers.turn();
        if let Some(found) = self.at_once(|| self.core.overlay.lookup(parent.0, name)) {
            return self.core.reply_entry(found, reply);
        }
        let name = name.to_os_string();
        self.serve(
            reply,
            move |core, _| core.overlay.lookup(parent.0, &name),
            |core, reply, found| core.reply_entry(found, reply),
        );
    }

    fn forget(&self, _request: &Request, node: INodeNo, nlookup: u64) {
        // Many come in one request.
        self.core.readers.count_forget();
        self.core.overlay.forget(node.0, nlookup);
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let _turn = self.core.readers.turn();
        self.serve(
            reply,
            move |core, _| core.getattr(node),
            move |core, reply, attr| core.reply_attr(node, attr, reply),
        );
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
        let _turn = self.core.readers.turn();
        let changes =
            Changes { mode, uid, gid, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        let ids = self.core.set_ids(caller(request));
        self.change(
            reply,
            move |core, _| core.setattr(node, changes, ids),
            move |core, reply, changed| {
                let (attr, resize) =
                    changed.map_or_else(|e| (Err(e), None), |(attr, resize)| (Ok(attr), resize));
                core.reply_attr(node, attr, reply);
                drop(resize);
            },
        );
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        let _turn = self.core.readers.turn();
        self.serve(
            reply,
            move |core, _| core.overlay.readlink(node.0),
            |_, reply, target| reply_data(target, reply),
        );
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
        let _turn = self.core.readers.turn();
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
        let _turn = self.core.readers.turn();
        self.make(request, parent, name, NewFile::Directory, NewMode { mode: mode & 0o7777, umask }, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.core.readers.turn();
        let name = name.to_os_string();
        self.change(
            reply,
            move |core, _| core.overlay.unlink(parent.0, &name),
            |_, reply, removed| reply_empty(removed, reply),
        );
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.core.readers.turn();
        let name = name.to_os_string();
        self.change(
            reply,
            move |core, _| core.overlay.rmdir(parent.0, &name),
            |_, reply, removed| reply_empty(removed, reply),
        );
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let _turn = self.core.readers.turn();
        let (name, target, caller) = (name.to_os_string(), target.to_owned(), caller(request));
        self.change(
            reply,
            move |core, _| {
                let new = NewFile::Symlink(target.as_os_str());
                let mode = NewMode { mode: 0o777, umask: 0 };
                core.overlay.create(parent.0, &name, new, mode, caller)
            },
            |core, reply, made| core.reply_entry(made.map(Some), reply),
        );
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
        let _turn = self.core.readers.turn();
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
        self.change(
            reply,
            move |core, _| core.overlay.rename((parent.0, &name), (newparent.0, &newname), mode),
            |_, reply, renamed| reply_empty(renamed, reply),
        );
    }

    fn link(
        &self,
        _request: &Request,
        node: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let _turn = self.core.readers.turn();
        let newname = newname.to_os_string();
        self.change(
            reply,
            move |core, _| core.overlay.link(node.0, newparent.0, &newname),
            |core, reply, linked| core.reply_entry(linked.map(Some), reply),
        );
    }

    fn open(&self, request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.core.readers.turn();
        if !self.core.passes_through() {
            return reply.error(Errno::ENOSYS);
        }
        let request = self.open_request(request, flags);
        let operation = move |core: &Core, reply: &mut ReplyOpen| core.open(node, request, reply);
        let finish = move |core: &Core, reply, opened: Result<(Opened, Option<Resize>), Error>| {
            let (opened, resize) =
                opened.map_or_else(|e| (Err(e), None), |(opened, resize)| (Ok(opened), resize));
            core.reply_open(node, opened, reply);
            drop(resize);
        };
        if request.write || request.truncate {
            self.change(reply, operation, finish);
        } else {
            self.serve(reply, operation, finish);
        }
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
        let _turn = self.core.readers.turn();
        let operation = move |core: &Core, _: &mut ReplyData| core.read(node, offset, size);
        let finish = |_: &Core, reply, data| reply_data(data, reply);
        if size >= LARGE_READ {
            self.serve_long(reply, operation, finish);
        } else {
            self.serve(reply, operation, finish);
        }
    }

    fn write(
        &self,
        request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _turn = self.core.readers.turn();
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let ids = if kill { SetIds::Drop(caller(request)) } else { SetIds::Keep };
        // What mappings wrote is on its way from the page cache: its writer is not waiting for it, but memory may
        // be, and so may readers, who share a queue in the kernel with it.
        let from_mapping = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let pass = self.gate.pass();
        if (from_mapping || pass.is_some())
            && let Some(written) = self.at_once(|| self.core.overlay.write(node.0, offset, data, ids))
        {
            Core::reply_write(written.map(|()| data.len()), reply);
            return drop(pass);
        }
        drop(pass);
        let data = data.to_vec();
        let operation = move |core: &Core, _: &mut ReplyWrite| {
            core.overlay.write(node.0, offset, &data, ids).map(|()| data.len())
        };
        let finish = |_: &Core, reply, written| Core::reply_write(written, reply);
        if from_mapping {
            self.serve(reply, operation, finish);
        } else {
            self.change(reply, operation, finish);
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Nothing is kept back between a write and a close: the kernel need not ask again.
        let _turn = self.core.readers.turn();
        reply.error(Errno::ENOSYS);
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
        let _turn = self.core.readers.turn();
        self.core.opens.release(node.0, handle);
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.core.readers.turn();
        self.serve_long(
            reply,
            move |core, _| core.overlay.fsync(node.0, datasync),
            |_, reply, synced| reply_empty(synced, reply),
        );
    }

    fn opendir(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.core.readers.turn();
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let _turn = self.core.readers.turn();
        self.serve(
            reply,
            move |core, reply: &mut ReplyDirectory| fill(core, reply, node, offset),
            |_, reply, filled| match filled {
                Ok(()) => reply.ok(),
                Err(e) => reply.error(errno(e)),
            },
        );
    }

    fn readdirplus(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let _turn = self.core.readers.turn();
        self.serve(
            reply,
            move |core, reply: &mut ReplyDirectoryPlus| fill_plus(core, reply, node, offset),
            |_, reply, filled| match filled {
                Ok(()) => reply.ok(),
                Err(e) => reply.error(errno(e)),
            },
        );
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.core.readers.turn();
        self.serve_long(
            reply,
            move |core, _| core.overlay.fsync_dir(node.0),
            |_, reply, synced| reply_empty(synced, reply),
        );
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        let _turn = self.core.readers.turn();
        let finish = |_: &Core, reply: ReplyStatfs, told: Result<StatVfs, Error>| match told {
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
        };
        self.serve(reply, |core, _| core.overlay.statfs(), finish);
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
        let _turn = self.core.readers.turn();
        if !self.core.options.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        let (name, value, caller) = (name.to_os_string(), value.to_vec(), caller(request));
        self.change(
            reply,
            move |core, _| core.overlay.setxattr(node.0, &name, &value, flags as u32, caller),
            |_, reply, set| reply_empty(set, reply),
        );
    }

    fn getxattr(&self, _request: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let _turn = self.core.readers.turn();
        if !self.core.options.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        if let Some(value) = self.at_once(|| self.core.overlay.getxattr(node.0, name)) {
            return reply_xattr(value, size, reply);
        }
        let name = name.to_os_string();
        self.serve(
            reply,
            move |core, _| core.overlay.getxattr(node.0, &name),
            move |_, reply, value| reply_xattr(value, size, reply),
        );
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let _turn = self.core.readers.turn();
        if !self.core.options.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        let caller = caller(request);
        self.serve(
            reply,
            move |core, _| core.overlay.listxattr(node.0, caller),
            move |_, reply, names| {
                let list = names.map(|names| {
                    let name = |name: OsString| [name.into_vec(), vec![0]].concat();
                    names.into_iter().flat_map(name).collect()
                });
                reply_xattr(list, size, reply);
            },
        );
    }

    fn removexattr(&self, _request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let _turn = self.core.readers.turn();
        if !self.core.options.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        let name = name.to_os_string();
        self.change(
            reply,
            move |core, _| core.overlay.removexattr(node.0, &name),
            |_, reply, removed| reply_empty(removed, reply),
        );
    }

    fn access(&self, _request: &Request, _node: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        let _turn = self.core.readers.turn();
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
        let _turn = self.core.readers.turn();
        let mode = NewMode { mode: mode & 0o7777, umask };
        let open = OpenRequest { truncate: false, ..self.open_request(request, OpenFlags(flags)) };
        let (name, caller) = (name.to_os_string(), caller(request));
        self.change(
            reply,
            move |core, _| core.overlay.create_open(parent.0, &name, NewFile::Regular, mode, caller),
            move |core, reply, created| core.reply_create(created, open, reply),
        );
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
        let _turn = self.core.readers.turn();
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
        let _turn = self.core.readers.turn();
        let ids = self.core.set_ids(caller(request));
        let span = Span { offset, length };
        self.change_long(
            reply,
            move |core, _| core.overlay.fallocate(node.0, span, mode, ids),
            |_, reply, allocated| reply_empty(allocated, reply),
        );
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
        let _turn = self.core.readers.turn();
        self.serve(
            reply,
            move |core, _| core.overlay.lseek(node.0, offset, whence),
            |_, reply: ReplyLseek, found| match found {
                Ok(offset) => reply.offset(offset),
                Err(e) => reply.error(errno(e)),
            },
        );
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
        let _turn = self.core.readers.turn();
        let ids = self.core.set_ids(caller(request));
        let (from, to) = ((from.0, from_offset), (to.0, to_offset));
        self.change_long(
            reply,
            move |core, _| core.overlay.copy_file_range(from, to, length, ids),
            |_, reply, copied| Core::reply_write(copied, reply),
        );
    }
}
