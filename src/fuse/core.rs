//! What answers a request, on whichever thread: the union, its live openings, and the replies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, Notifier, ReplyAttr, ReplyCreate, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr,
};

use crate::overlay::{Backing, Changes, Entry, Error, Overlay, SetIds};

use super::convert::{errno, file_attr, no_attr};
use super::opens::{Opened, Opens, Wish};
use super::options::ServiceOptions;

/// As good as for ever.
const FOR_EVER: Duration = Duration::from_secs(1 << 40);
/// Node numbers are never used again for another file while the kernel knows them.
pub(super) const GENERATION: Generation = Generation(0);
/// Handle of an opening that may write.
pub(super) const WRITER: FileHandle = FileHandle(2);
/// Handle of an opening that only reads.
const READER: FileHandle = FileHandle(1);

/// What the workers share with the service.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) overlay: Overlay,
    pub(super) opens: Opens,
    pub(super) options: ServiceOptions,
    pub(super) passthrough: AtomicBool,
    pub(super) notifier: Arc<OnceLock<Notifier>>,
    pub(super) ttl: Duration,
}

impl Core {
    /// Ready to answer, without passthrough as yet.
    pub(super) fn new(overlay: Overlay, options: ServiceOptions) -> Core {
        let ttl = options.timeout.unwrap_or(FOR_EVER);
        let (opens, notifier) = (Opens::default(), Arc::default());
        Core { overlay, opens, passthrough: AtomicBool::new(false), notifier, ttl, options }
    }

    /// Whether the kernel reads and writes files by itself.
    pub(super) fn passes_through(&self) -> bool {
        self.passthrough.load(Ordering::Relaxed)
    }

    /// How long the kernel may keep what it is told of an entry: attributes of a node whose number is not the
    /// inode's must be asked for, as the answer here can carry one number only.
    pub(super) fn entry_ttls(&self, entry: &Entry) -> (Duration, Duration) {
        let attr = if entry.node == entry.attr.ino { self.ttl } else { Duration::ZERO };
        (attr, self.ttl)
    }

    /// Answers a request that introduces an inode.
    pub(super) fn reply_entry(&self, found: Result<Option<Entry>, Error>, reply: ReplyEntry) {
        match found {
            Ok(Some(entry)) => {
                let (attr, name) = self.entry_ttls(&entry);
                reply.entry_with_ttls(&attr, &name, &file_attr(&entry.attr, entry.node), GENERATION);
            }
            Ok(None) => reply.entry(&self.ttl, &no_attr(), GENERATION),
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Whether a change of content by this caller drops set-id bits, where the kernel does not say.
    pub(super) fn set_ids(&self, uid: u32) -> SetIds {
        if uid == 0 && self.overlay.is_initial_root() { SetIds::Keep } else { SetIds::Drop }
    }

    /// Changes attributes; a change of size must not reach what readers of the lower's file see.
    pub(super) fn setattr(&self, node: INodeNo, changes: Changes, ids: SetIds, reply: ReplyAttr) {
        if changes.size.is_some() && self.opens.reads_lower(node.0) {
            let apart = self.overlay.copy_up_apart(node.0, changes.size == Some(0));
            let answer = apart.err().unwrap_or(Error::Stale);
            return self.refuse(node, answer, |e| reply.error(e));
        }
        match self.overlay.setattr(node.0, changes, ids) {
            Ok(attr) => reply.attr(&self.ttl, &file_attr(&attr, attr.ino)),
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Opens a file for the kernel to read and write by itself.
    pub(super) fn open(&self, node: INodeNo, wish: Wish, reply: ReplyOpen) {
        let opened =
            self.opens.open(&self.overlay, node.0, wish, None, |backing| reply.open_backing(&*backing.fd));
        let handle = if wish.write { WRITER } else { READER };
        match opened {
            Ok(Opened { id: Some(id), direct }) => reply.opened_passthrough(handle, open_flags(direct), &id),
            Ok(Opened { id: None, .. }) => reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE),
            Err(e) => self.refuse(node, e, |e| reply.error(e)),
        }
    }

    /// Answers with an error. A writer who is sent to the copy of a file that others read makes the kernel look up
    /// the name in use by itself; other names it is told to forget, by a thread of its own: that waits for
    /// directories in use, whose users may wait for us.
    fn refuse(&self, node: INodeNo, error: Error, reply: impl FnOnce(Errno) + Send + 'static) {
        let names = if error == Error::Stale { self.overlay.several_names(node.0) } else { Vec::new() };
        if names.is_empty() {
            return reply(errno(error));
        }
        let notifier = self.notifier.clone();
        let forget_and_reply = move || {
            for (parent, name) in names {
                if let Some(Err(e)) = notifier.get().map(|n| n.inval_entry(INodeNo(parent), &name)) {
                    log::debug!("the kernel did not know {}: {e}", name.display());
                }
            }
            reply(errno(error));
        };
        // Without a thread the request is answered with EIO as it is dropped.
        if let Err(e) = thread::Builder::new().name("plyfs-names".to_owned()).spawn(forget_and_reply) {
            log::warn!("no thread to tell of a copied file: {e}");
        }
    }

    /// Answers a creation, with the new file open.
    pub(super) fn finish_create(&self, entry: &Entry, file: Option<Backing>, wish: Wish, reply: ReplyCreate) {
        let (ttl, attr) = (self.ttl, file_attr(&entry.attr, entry.node));
        if !self.passes_through() {
            file.into_iter().for_each(|file| self.overlay.keep_open(entry.node, file));
            return reply.created(&ttl, &attr, GENERATION, FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
        let register = |backing: &Backing| reply.open_backing(&*backing.fd);
        let opened = self.opens.open(&self.overlay, entry.node, wish, file, register);
        let handle = if wish.write { WRITER } else { READER };
        match opened {
            Ok(Opened { id: Some(id), direct }) => {
                reply.created_passthrough(&ttl, &attr, GENERATION, handle, open_flags(direct), &id);
            }
            Ok(Opened { id: None, .. }) => {
                reply.created(&ttl, &attr, GENERATION, handle, FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Reads for the kernel.
    pub(super) fn read(&self, node: INodeNo, offset: u64, size: u32, reply: ReplyData) {
        let mut buffer = vec![0; size as usize];
        match self.overlay.read(node.0, offset, &mut buffer) {
            Ok(length) => reply.data(&buffer[..length]),
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Writes for the kernel.
    pub(super) fn write(&self, node: INodeNo, offset: u64, data: &[u8], ids: SetIds, reply: ReplyWrite) {
        match self.overlay.write(node.0, offset, data, ids) {
            Ok(()) => reply.written(data.len() as u32),
            Err(e) => reply.error(errno(e)),
        }
    }
}

fn open_flags(direct: bool) -> FopenFlags {
    let flags = FopenFlags::FOPEN_NOFLUSH;
    if direct { flags | FopenFlags::FOPEN_DIRECT_IO } else { flags }
}

/// Answers with success or an error alone.
pub(super) fn reply_empty(result: Result<(), Error>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(e)),
    }
}

/// Answers with the length of a value, or with the value if it fits.
pub(super) fn reply_xattr(value: Result<Vec<u8>, Error>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(Errno::ERANGE),
        Err(e) => reply.error(errno(e)),
    }
}
