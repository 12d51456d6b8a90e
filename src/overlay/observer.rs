//! Who is told of what happens behind the back of those who remember attributes, and of the end of long work.

use std::fmt::Debug;

use super::error::Result;
use super::inode::Inode;
use super::patience::Patience;
use super::union::Overlay;

/// Told by the union, on the thread of the operation and before the operation ends.
pub trait Observer: Debug + Send + Sync {
    /// Attributes of an inode changed that is a directory, or the file that the operation under way is about, though
    /// nobody asked for just that: whoever remembers them must ask anew.
    fn attributes_changed(&self, node: u64);

    /// Long work on an inode has ended: operations that gave up with [`super::Error::Busy`] can go on.
    fn work_ended(&self, node: u64);
}

/// Long work on an inode; others who need the inode give up or wait until it is dropped.
#[must_use]
pub struct LongWork<'a> {
    overlay: &'a Overlay,
    inode: &'a Inode,
}

impl Overlay {
    /// Names the one who is told; only the first counts.
    pub fn observe(&self, observer: Box<dyn Observer>) {
        if self.observer.set(observer).is_err() {
            log::debug!("the union is observed already");
        }
    }

    /// Whether long work is being done on an inode.
    pub fn is_busy(&self, node: u64) -> bool {
        self.inode(node).is_ok_and(|inode| inode.is_busy())
    }

    /// Begins long work on an inode, one of whose locks the caller holds.
    ///
    /// # Errors
    /// [`super::Error::Long`] where the calling thread has no time for it.
    pub(super) fn begin_long_work<'a>(&'a self, inode: &'a Inode) -> Result<LongWork<'a>> {
        Patience::check_long()?;
        inode.set_busy(true);
        Ok(LongWork { overlay: self, inode })
    }

    /// Tells that attributes changed as a side effect.
    pub(super) fn tell_attributes_changed(&self, inode: &Inode) {
        if let Some(observer) = self.observer.get()
            && inode.is_looked_up()
        {
            observer.attributes_changed(inode.node);
        }
    }
}

impl Drop for LongWork<'_> {
    fn drop(&mut self) {
        self.inode.set_busy(false);
        if let Some(observer) = self.overlay.observer.get() {
            observer.work_ended(self.inode.node);
        }
    }
}
