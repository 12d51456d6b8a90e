//! What answers a request, on whichever thread: the union, its open files, and the replies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, Notifier, ReplyAttr, ReplyCreate, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr,
};

use crate::overlay::{Attr, Backing, Caller, Changes, Entry, Error, Observer, Overlay, SetIds};

use super::busy_poll::BusyPoll;
use super::convert::{errno, file_attr, no_attr};
use super::opens::{OpenRequest, Opened, Opens, SET_IDS};
use super::options::ServiceOptions;
use super::readers::{DEFAULT_THREADS, Readers};
use super::resizing::{Resize, Resizing};
use super::task::Waiting;
use super::workers::Workers;

/// As good as for ever.
const FOR_EVER: Duration = Duration::from_secs(1 << 40);
/// Attributes of a file that may be written through a mapping are kept for so long: one tick of the clock that times of files
/// are taken from.
const UNCERTAIN: Duration = Duration::from_millis(4);
/// Node numbers are never used again for another file while the kernel knows them.
pub(super) const GENERATION: Generation = Generation(0);
/// One who has no right to set-id bits.
const NOBODY: Caller = Caller { uid: 65534, gid: 65534, pid: 0 };

/// What the workers share with the service.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) overlay: Overlay,
    pub(super) opens: Opens,
    pub(super) options: ServiceOptions,
    pub(super) passthrough: AtomicBool,
    pub(super) notifier: Arc<OnceLock<Notifier>>,
    pub(super) ttl: Duration,
    pub(super) workers: Arc<Workers>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) resizing: Arc<Resizing>,
    pub(super) readers: Arc<Readers>,
}

impl Core {
    /// Ready to answer, without passthrough as yet.
    pub(super) fn new(overlay: Overlay, options: ServiceOptions) -> Core {
        let ttl = options.timeout.unwrap_or(FOR_EVER);
        let (opens, notifier) = (Opens::default(), Arc::<OnceLock<Notifier>>::default());
        let workers = Arc::new(Workers::new());
        let waiting = Arc::new(Waiting::new(workers.clone()));
        overlay.observe(Box::new(Kernel { notifier: notifier.clone(), waiting: waiting.clone() }));
        let passthrough = AtomicBool::new(false);
        let resizing = Resizing::new(waiting.clone());
        let threads = options.threads.unwrap_or(DEFAULT_THREADS).max(1);
        let readers = Readers::new(threads, BusyPoll::new(options.busy_poll));
        Core { overlay, opens, passthrough, notifier, ttl, options, workers, waiting, resizing, readers }
    }

    /// Whether the kernel reads and writes files by itself.
    pub(super) fn passes_through(&self) -> bool {
        self.passthrough.load(Ordering::Relaxed)
    }

    /// How long the kernel may keep attributes of a node: not for long where it may change the file by itself, and not at
    /// all where a change is to take away set-id bits.
    pub(super) fn attr_ttl(&self, node: u64) -> Duration {
        if !self.passes_through() {
            self.ttl
        } else if self.opens.has_set_ids_given(node) {
            Duration::ZERO
        } else if self.opens.is_written(node) || self.overlay.may_kernel_write(node) {
            self.ttl.min(UNCERTAIN)
        } else {
            self.ttl
        }
    }

    /// The same for what it is told of an entry. Attributes of a node whose number is not the inode's must be asked for,
    /// as the answer here can carry one number only.
    pub(super) fn entry_attr_ttl(&self, entry: &Entry) -> Duration {
        if entry.node == entry.attr.ino { self.attr_ttl(entry.node) } else { Duration::ZERO }
    }

    /// Whether requests that need an inode have to wait.
    pub(super) fn is_busy(&self, node: u64) -> bool {
        self.overlay.is_busy(node) || self.resizing.contains(node)
    }

    /// The attributes of an inode, unless its size is just being changed.
    pub(super) fn getattr(&self, node: INodeNo) -> Result<Attr, Error> {
        if self.resizing.contains(node.0) {
            return Err(Error::Busy(node.0));
        }
        let attr = self.overlay.getattr(node.0)?;
        if self.resizing.contains(node.0) { Err(Error::Busy(node.0)) } else { Ok(attr) }
    }

    /// Attributes to tell, after set-id bits went that the kernel left when it wrote the file by itself.
    pub(super) fn settled(&self, node: u64, attr: Attr) -> Attr {
        if attr.perm & SET_IDS == 0 || !self.opens.owes_set_ids(&self.overlay, node) {
            return attr;
        }
        let dropped = self.overlay.drop_set_ids_of(node, SetIds::Drop(NOBODY));
        dropped.and_then(|()| self.overlay.getattr(node)).unwrap_or_else(|e| {
            log::warn!("set-id bits of inode {node} stay after a write: {e}");
            Attr { perm: attr.perm & !SET_IDS, ..attr }
        })
    }

    /// Answers a request for attributes.
    pub(super) fn reply_attr(&self, node: INodeNo, attr: Result<Attr, Error>, reply: ReplyAttr) {
        match attr {
            Ok(attr) => {
                let attr = self.settled(node.0, attr);
                reply.attr(&self.attr_ttl(node.0), &file_attr(&attr, attr.ino));
            }
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Answers a request that introduces an inode.
    pub(super) fn reply_entry(&self, found: Result<Option<Entry>, Error>, reply: ReplyEntry) {
        match found {
            Ok(Some(entry)) => {
                let attr = self.settled(entry.node, entry.attr);
                let attr_ttl = self.entry_attr_ttl(&entry);
                reply.entry_with_ttls(&attr_ttl, &self.ttl, &file_attr(&attr, entry.node), GENERATION);
            }
            Ok(None) => reply.entry(&self.ttl, &no_attr(), GENERATION),
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Whether a change of content by this caller drops set-id bits, where the kernel does not say.
    pub(super) fn set_ids(&self, caller: Caller) -> SetIds {
        if caller.uid == 0 && self.overlay.is_initial_root() { SetIds::Keep } else { SetIds::Drop(caller) }
    }

    /// Changes attributes; until the answer is given the size is not told to others.
    pub(super) fn setattr(
        &self,
        node: INodeNo,
        changes: Changes,
        ids: SetIds,
    ) -> Result<(Attr, Option<Resize>), Error> {
        let resize = match changes.size {
            Some(size) => {
                self.overlay.prepare_resizing(node.0, size)?;
                Some(self.resizing.begin(node.0))
            }
            None => None,
        };
        let attr = self.overlay.setattr(node.0, changes, ids)?;
        if attr.perm & SET_IDS != 0 && (changes.mode.is_some() || changes.uid.is_some()) {
            self.opens.set_ids_given(&self.overlay, node.0);
        }
        Ok((attr, resize))
    }

    /// Opens a file for the kernel.
    pub(super) fn open(
        &self,
        node: INodeNo,
        request: OpenRequest,
        reply: &ReplyOpen,
    ) -> Result<(Opened, Option<Resize>), Error> {
        let resize = if request.truncate {
            self.overlay.prepare_resizing(node.0, 0)?;
            Some(self.resizing.begin(node.0))
        } else {
            None
        };
        let register = |backing: &Backing| reply.open_backing(&*backing.fd);
        Ok((self.opens.open(&self.overlay, node.0, request, None, register)?, resize))
    }

    /// Answers an open request.
    pub(super) fn reply_open(&self, node: INodeNo, opened: Result<Opened, Error>, reply: ReplyOpen) {
        match opened {
            Ok(opened) => {
                if opened.attributes_may_change {
                    tell_attributes_changed(&self.notifier, node.0);
                }
                match &opened.id {
                    Some(id) => reply.opened_passthrough(opened.handle, opened.flags, id),
                    None => reply.opened(opened.handle, opened.flags),
                }
            }
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Answers a creation, with the new file open.
    pub(super) fn reply_create(
        &self,
        created: Result<(Entry, Option<Backing>), Error>,
        request: OpenRequest,
        reply: ReplyCreate,
    ) {
        let (entry, file) = match created {
            Ok(created) => created,
            Err(e) => return reply.error(errno(e)),
        };
        let (ttl, attr) = (self.ttl, file_attr(&entry.attr, entry.node));
        if !self.passes_through() {
            file.into_iter().for_each(|file| self.overlay.keep_open(entry.node, file));
            return reply.created(&ttl, &attr, GENERATION, FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
        let register = |backing: &Backing| reply.open_backing(&*backing.fd);
        match self.opens.open(&self.overlay, entry.node, request, file, register) {
            Ok(opened) => {
                // There is no saying that attributes may not be kept. A new file is empty: whatever makes it larger
                // tells the kernel that they changed, and what it asks for then it may not keep.
                match &opened.id {
                    Some(id) => {
                        reply.created_passthrough(&ttl, &attr, GENERATION, opened.handle, opened.flags, id);
                    }
                    None => reply.created(&ttl, &attr, GENERATION, opened.handle, opened.flags),
                }
            }
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Writes for the kernel.
    pub(super) fn reply_write(result: Result<usize, Error>, reply: ReplyWrite) {
        match result {
            Ok(length) => reply.written(length as u32),
            Err(e) => reply.error(errno(e)),
        }
    }

    /// Reads for the kernel.
    pub(super) fn read(&self, node: INodeNo, offset: u64, size: u32) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; size as usize];
        let length = self.overlay.read(node.0, offset, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// The kernel, as the union sees it.
#[derive(Debug)]
struct Kernel {
    notifier: Arc<OnceLock<Notifier>>,
    waiting: Arc<Waiting>,
}

impl Observer for Kernel {
    fn attributes_changed(&self, node: u64) {
        tell_attributes_changed(&self.notifier, node);
    }

    fn work_ended(&self, node: u64) {
        self.waiting.wake(node);
    }
}

/// Makes the kernel ask for the attributes of an inode when they are needed next.
///
/// The kernel waits where the inode is just being evicted, and an eviction may wait for an answer of ours. It never does for
/// a directory, which has no pages under way, nor is the file evicted that a request under way is about. So this is safe on
/// any thread for these, and for no others.
fn tell_attributes_changed(notifier: &OnceLock<Notifier>, node: u64) {
    if let Some(Err(e)) = notifier.get().map(|n| n.inval_inode(INodeNo(node), -1, 0)) {
        log::debug!("attributes of node {node} not dropped: {e}");
    }
}

/// Answers with success or an error alone.
pub(super) fn reply_empty(result: Result<(), Error>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(e)),
    }
}

/// Answers with bytes.
pub(super) fn reply_data(data: Result<Vec<u8>, Error>, reply: ReplyData) {
    match data {
        Ok(data) => reply.data(&data),
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
