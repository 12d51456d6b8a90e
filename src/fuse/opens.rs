//! Files that the kernel reads and writes by itself: one backing id per inode for as long as it is open.
//!
//! The kernel re-opens the backing file with each caller's flags, so an id of a lower's file must never serve an
//! opening for writing: the write would land in the layer.
//!
//! Ids of lowers' files are kept for a while after the last handle is closed: headers, libraries and modules are opened
//! again and again.

use std::collections::VecDeque;
use std::sync::Arc;

use dashmap::DashMap;
use fuser::BackingId;
use parking_lot::Mutex;

use crate::overlay::{Backing, Condition, Error, Overlay, SetIds};

/// So many files that nobody has open keep their ids.
const MOST_IDLE: usize = 64;

/// How a file is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// For writing, too.
    pub write: bool,
    /// Cut to nothing.
    pub truncate: bool,
    /// Whether cutting keeps set-id bits.
    pub ids: SetIds,
}

/// The live opening of one inode, or an idle one that is kept.
#[derive(Debug)]
struct Live {
    /// The kernel's id; none where it refused one, so that the daemon moves the bytes.
    id: Option<Arc<BackingId>>,
    /// Whether the backing file is the upper's.
    upper: bool,
    /// How many handles use it.
    handles: usize,
    /// Modification time of the backing file when it was opened first.
    mtime: Option<(i64, u64)>,
    backing: Backing,
    /// Whether it stands among the idle ones, though it may be in use again.
    queued: bool,
    /// Whether it was used since it was looked at there.
    used: bool,
}

impl Live {
    /// Whether it may serve later openings when nobody has it open any more: files of the upper may be replaced.
    fn is_worth_keeping(&self) -> bool {
        !self.upper && self.id.is_some()
    }
}

/// The place of one inode's opening.
type Slot = Arc<Mutex<Option<Live>>>;

/// What to answer to an opening.
#[derive(Debug)]
pub struct Opened {
    /// The backing id to name, if any.
    pub id: Option<Arc<BackingId>>,
    /// Whether writes are to come through the daemon, for set-id bits to be dropped.
    pub direct: bool,
}

/// All live openings.
#[derive(Debug, Default)]
pub struct Opens {
    live: DashMap<u64, Slot>,
    /// Inodes whose files nobody has open, or had not when they came here; the oldest first.
    idle: Mutex<VecDeque<u64>>,
}

impl Opens {
    /// Opens a file, with the id it has already or with one that `register` gets from the kernel. `made` is the file
    /// itself where it is new, and open already.
    ///
    /// # Errors
    /// [`Error::Stale`] where readers hold the lower's file and a writer comes: the file was copied up, and
    /// the kernel finds the copy when it looks the name up again.
    pub fn open(
        &self,
        overlay: &Overlay,
        node: u64,
        wish: Wish,
        made: Option<Backing>,
        register: impl FnOnce(&Backing) -> std::io::Result<BackingId>,
    ) -> Result<Opened, Error> {
        let slot = self.live.entry(node).or_default().clone();
        let mut slot = slot.lock();
        let write = wish.write || wish.truncate;
        if slot.as_ref().is_some_and(|live| live.handles == 0) && (write || !overlay.is_lower_file(node)?) {
            slot.take();
        }
        if let Some(live) = &mut *slot {
            if write && !live.upper {
                overlay.copy_up_apart(node, wish.truncate)?;
                return Err(Error::Stale);
            }
            if wish.truncate {
                overlay.open_for_writing(node, true, wish.ids)?;
            }
            live.handles += 1;
            live.used = true;
            let direct = wish.write && live.backing.condition().set_ids;
            return Ok(Opened { id: live.id.clone(), direct });
        }
        let backing = match made {
            Some(made) => made,
            None if write => overlay.open_for_writing(node, wish.truncate, wish.ids)?,
            None => overlay.open_for_reading(node)?,
        };
        let id = register(&backing).inspect_err(|e| log::debug!("no passthrough for inode {node}: {e}"));
        let Condition { mtime, set_ids: direct } =
            if wish.write { backing.condition() } else { Condition::default() };
        let id = id.ok().map(Arc::new);
        let upper = backing.upper;
        let live = Live { id: id.clone(), upper, handles: 1, mtime, backing, queued: false, used: false };
        *slot = Some(live);
        Ok(Opened { id, direct })
    }

    /// One handle of the inode is closed; returns whether its attributes may have changed behind the kernel's back.
    pub fn release(&self, node: u64, was_writer: bool) -> bool {
        let Some(slot) = self.live.get(&node).map(|slot| slot.clone()) else { return false };
        let (moved, idle, closed) = {
            let mut slot = slot.lock();
            let Some(live) = &mut *slot else { return false };
            live.handles = live.handles.saturating_sub(1);
            let moved = was_writer && live.backing.condition().mtime != live.mtime;
            match live.handles {
                0 if live.is_worth_keeping() => (moved, !std::mem::replace(&mut live.queued, true), None),
                0 => (moved, false, slot.take()),
                _ => (moved, false, None),
            }
        };
        if idle {
            self.keep(node);
        } else if closed.is_some() {
            drop(closed);
            drop(slot);
            self.forget_empty(node);
        }
        moved
    }

    /// Keeps the file of an inode that nobody has open any more, and lets another one go where there are too many.
    fn keep(&self, node: u64) {
        let mut idle = self.idle.lock();
        idle.push_back(node);
        while idle.len() > MOST_IDLE {
            let Some(oldest) = idle.pop_front() else { return };
            if self.let_go(oldest) {
                idle.push_back(oldest);
            }
        }
    }

    /// Closes a file that is kept, unless somebody has it open; returns whether it was used meanwhile, so that it is to be
    /// kept for another round.
    fn let_go(&self, node: u64) -> bool {
        let Some(slot) = self.live.get(&node).map(|slot| slot.clone()) else { return false };
        let closed = {
            let mut slot = slot.lock();
            let Some(live) = &mut *slot else { return false };
            if live.handles == 0 && std::mem::replace(&mut live.used, false) {
                return true;
            }
            live.queued = false;
            if live.handles == 0 { slot.take() } else { None }
        };
        drop(closed);
        drop(slot);
        self.forget_empty(node);
        false
    }

    /// Frees the place of an inode that has no opening.
    fn forget_empty(&self, node: u64) {
        self.live.remove_if(&node, |_, slot| Arc::strong_count(slot) == 1 && slot.lock().is_none());
    }

    /// Whether readers hold the lower's file of this inode.
    pub fn reads_lower(&self, node: u64) -> bool {
        let slot = self.live.get(&node).map(|slot| slot.clone());
        slot.is_some_and(|slot| {
            slot.lock().as_ref().is_some_and(|live| live.handles > 0 && live.is_worth_keeping())
        })
    }
}
