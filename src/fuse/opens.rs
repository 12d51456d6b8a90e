//! How the open files of an inode are read and written: by the kernel itself on a backing file (passthrough), or through
//! the kernel's page cache by the daemon.
//!
//! The kernel allows one way at a time for an inode, and one backing file, which it opens anew with each caller's flags.
//! So a backing file must stay the inode's file for as long as anybody has it open. A file of the upper does; a lower's
//! does only in a union that cannot copy it up. The table of states and events:
//!
//! | open files | open | the last one is closed |
//! |---|---|---|
//! | none | passthrough where the backing file stays, else through the page cache | |
//! | passthrough | the same backing file | none |
//! | through the page cache | through the page cache, whatever the file is by now | none |

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use fuser::{BackingId, FileHandle, FopenFlags};
use parking_lot::Mutex;

use crate::overlay::{Backing, Error, Overlay, SetIds};

/// Handle of an opening that only reads.
const READER: FileHandle = FileHandle(1);
/// Handle of an opening that may write, of a caller who keeps set-id bits.
const WRITER: FileHandle = FileHandle(2);
/// Handle of an opening that may write, of another caller.
const UNPRIVILEGED_WRITER: FileHandle = FileHandle(3);
/// Beside these: the file can be mapped for writing through the handle.
const MAPS: u64 = 4;

/// Set-user-id and set-group-id.
pub(super) const SET_IDS: u32 = 0o6000;

/// What an open request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRequest {
    /// Writing, too.
    pub write: bool,
    /// Reading and writing, so that the file can be mapped for both.
    pub map: bool,
    /// Without the page cache (`O_DIRECT`).
    pub direct: bool,
    /// To be cut to nothing.
    pub truncate: bool,
    /// Whether the caller's changes of content keep set-id bits.
    pub ids: SetIds,
}

impl OpenRequest {
    /// The handle that tells on closing what it was opened for.
    fn handle(self) -> FileHandle {
        match (self.write, self.ids) {
            (false, _) => READER,
            (true, SetIds::Keep) => FileHandle(WRITER.0 | (u64::from(self.map) * MAPS)),
            (true, SetIds::Drop(_)) => FileHandle(UNPRIVILEGED_WRITER.0 | (u64::from(self.map) * MAPS)),
        }
    }
}

/// What to answer to an open request.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub handle: FileHandle,
    /// The flags beside passthrough.
    pub flags: FopenFlags,
    /// The backing file's id, for passthrough.
    pub id: Option<Arc<BackingId>>,
    /// Whether attributes that the kernel keeps may be wrong from now on.
    pub attributes_may_change: bool,
}

/// A file that is read and written by the kernel itself.
#[derive(Debug)]
struct Passthrough {
    id: Arc<BackingId>,
    /// How many handles it can be mapped for writing through, which the kernel does not notice as a change.
    mappers: usize,
    /// How many handles that may write are of callers whose writes drop set-id bits.
    unprivileged: usize,
    /// When the content had last changed at the time set-id bits were set while such handles were open.
    set_ids_given: Option<(i64, u64)>,
}

#[derive(Debug)]
enum Way {
    Passthrough(Passthrough),
    PageCache,
}

/// The open files of one inode.
#[derive(Debug)]
struct OpenFiles {
    handles: usize,
    way: Way,
}

/// The place of one inode's open files.
type Slot = Arc<Mutex<Option<OpenFiles>>>;

/// All inodes that have open files.
#[derive(Debug, Default)]
pub struct Opens {
    slots: DashMap<u64, Slot>,
    /// How many handles the kernel may write through by itself.
    passthrough_writers: AtomicUsize,
}

impl Opens {
    /// Opens a file; `register` gets the kernel's id for a backing file. `made` is the file itself where it is new.
    ///
    /// # Errors
    /// Those of copying the file up for a writer, and of opening it.
    pub fn open(
        &self,
        overlay: &Overlay,
        node: u64,
        request: OpenRequest,
        made: Option<Backing>,
        register: impl FnOnce(&Backing) -> std::io::Result<BackingId>,
    ) -> Result<Opened, Error> {
        if made.is_none() && (request.write || request.truncate) {
            overlay.prepare_writing(node, request.truncate, request.ids)?;
        }
        let slot = self.slots.entry(node).or_default().clone();
        let mut slot = slot.lock();
        let open = match &mut *slot {
            Some(open) => open,
            None => slot.insert(first_open(overlay, node, made, register)?),
        };
        if request.direct
            && matches!(open.way, Way::Passthrough(_))
            // The kernel would say EIO where the file system below refuses.
            && let Err(e) = overlay.check_direct_io(node)
        {
            slot.take_if(|open| open.handles == 0);
            return Err(e);
        }
        let keep_cache = open.handles > 0 || !overlay.is_upper(node)?;
        open.handles += 1;
        let (mut flags, mut id, mut attributes_may_change) = (FopenFlags::empty(), None, false);
        match &mut open.way {
            Way::PageCache if keep_cache => flags = FopenFlags::FOPEN_KEEP_CACHE,
            Way::PageCache => {}
            Way::Passthrough(passthrough) => {
                flags = FopenFlags::FOPEN_NOFLUSH;
                id = Some(passthrough.id.clone());
                if request.write {
                    let attr = overlay.getattr(node)?;
                    if request.map {
                        overlay.kernel_writes(node);
                        // Whatever makes an empty file larger is told by the kernel to itself.
                        attributes_may_change = passthrough.mappers == 0 && attr.size > 0;
                        passthrough.mappers += 1;
                    }
                    passthrough.unprivileged += usize::from(request.ids != SetIds::Keep);
                    self.passthrough_writers.fetch_add(1, Ordering::Relaxed);
                    // Then writes come through the daemon, and drop them.
                    if attr.perm & SET_IDS != 0 {
                        flags |= FopenFlags::FOPEN_DIRECT_IO;
                    }
                }
            }
        }
        Ok(Opened { handle: request.handle(), flags, id, attributes_may_change })
    }

    /// One handle of the inode is closed.
    pub fn release(&self, node: u64, handle: FileHandle) {
        let Some(slot) = self.slots.get(&node).map(|slot| slot.clone()) else { return };
        let closed = {
            let mut slot = slot.lock();
            let Some(open) = &mut *slot else { return };
            open.handles = open.handles.saturating_sub(1);
            let kind = FileHandle(handle.0 & !MAPS);
            if let (Way::Passthrough(passthrough), WRITER | UNPRIVILEGED_WRITER) = (&mut open.way, kind) {
                let (maps, unprivileged) = (handle != kind, kind == UNPRIVILEGED_WRITER);
                passthrough.mappers = passthrough.mappers.saturating_sub(maps.into());
                passthrough.unprivileged = passthrough.unprivileged.saturating_sub(unprivileged.into());
                self.passthrough_writers.fetch_sub(1, Ordering::Relaxed);
            }
            if open.handles == 0 { slot.take() } else { None }
        };
        if closed.is_some() {
            drop((closed, slot));
            self.slots.remove_if(&node, |_, slot| Arc::strong_count(slot) == 1 && slot.lock().is_none());
        }
    }

    /// Whether the kernel may change the file by itself at any time, so that its attributes must not be remembered.
    pub fn is_written(&self, node: u64) -> bool {
        self.with_passthrough(node, |passthrough| passthrough.mappers > 0).unwrap_or(false)
    }

    /// Whether set-id bits were set while somebody who may not keep them can write.
    pub fn has_set_ids_given(&self, node: u64) -> bool {
        self.with_passthrough(node, |passthrough| passthrough.set_ids_given.is_some()).unwrap_or(false)
    }

    /// Set-id bits were set: writes by handles that are open already would not drop them.
    pub fn set_ids_given(&self, overlay: &Overlay, node: u64) {
        self.with_passthrough(node, |passthrough| {
            if passthrough.unprivileged > 0 {
                passthrough.set_ids_given = overlay.content_changed(node).ok();
            }
        });
    }

    /// Whether somebody who may not keep set-id bits may have written since they were set.
    pub fn owes_set_ids(&self, overlay: &Overlay, node: u64) -> bool {
        self.with_passthrough(node, |passthrough| match passthrough.set_ids_given {
            Some(given) if overlay.content_changed(node).is_ok_and(|now| now != given) => {
                passthrough.set_ids_given = None;
                true
            }
            _ => false,
        })
        .unwrap_or(false)
    }

    fn with_passthrough<T>(&self, node: u64, look: impl FnOnce(&mut Passthrough) -> T) -> Option<T> {
        if self.passthrough_writers.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let slot = self.slots.get(&node)?.clone();
        let mut slot = slot.lock();
        match &mut slot.as_mut()?.way {
            Way::Passthrough(passthrough) => Some(look(passthrough)),
            Way::PageCache => None,
        }
    }
}

/// Decides for the first open file of an inode which way they all go.
fn first_open(
    overlay: &Overlay,
    node: u64,
    made: Option<Backing>,
    register: impl FnOnce(&Backing) -> std::io::Result<BackingId>,
) -> Result<OpenFiles, Error> {
    let way = match made.map_or_else(|| overlay.open_backing(node), |made| Ok(Some(made)))? {
        None => Way::PageCache,
        Some(backing) => match register(&backing) {
            Ok(id) => Way::Passthrough(Passthrough {
                id: Arc::new(id),
                mappers: 0,
                unprivileged: 0,
                set_ids_given: None,
            }),
            Err(e) => {
                log::debug!("no passthrough for inode {node}: {e}");
                Way::PageCache
            }
        },
    };
    Ok(OpenFiles { handles: 0, way })
}
