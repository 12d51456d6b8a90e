//! Files whose size is being changed: their attributes are not told until the kernel knows the new size, or it would show
//! that and still read by the old one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::task::Waiting;

/// All inodes whose size is being changed.
#[derive(Debug)]
pub(super) struct Resizing {
    nodes: Mutex<Vec<u64>>,
    count: AtomicUsize,
    waiting: Arc<Waiting>,
}

/// One change of size, from before the file is changed until after the answer.
#[derive(Debug)]
pub(super) struct Resize {
    all: Arc<Resizing>,
    node: u64,
}

impl Resizing {
    /// None as yet.
    pub fn new(waiting: Arc<Waiting>) -> Arc<Resizing> {
        Arc::new(Resizing { nodes: Mutex::default(), count: AtomicUsize::new(0), waiting })
    }

    /// The size of an inode is about to be changed.
    pub fn begin(self: &Arc<Self>, node: u64) -> Resize {
        self.nodes.lock().push(node);
        self.count.fetch_add(1, Ordering::SeqCst);
        Resize { all: self.clone(), node }
    }

    /// Whether the size of an inode is being changed.
    pub fn contains(&self, node: u64) -> bool {
        self.count.load(Ordering::SeqCst) > 0 && self.nodes.lock().contains(&node)
    }
}

impl Drop for Resize {
    fn drop(&mut self) {
        {
            let mut nodes = self.all.nodes.lock();
            if let Some(at) = nodes.iter().position(|node| *node == self.node) {
                nodes.swap_remove(at);
            }
        }
        self.all.count.fetch_sub(1, Ordering::SeqCst);
        self.all.waiting.wake(self.node);
    }
}
