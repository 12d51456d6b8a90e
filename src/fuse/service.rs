//! The service: a union with its live openings, and on which thread a request is answered.

use std::ffi::OsStr;
use std::sync::{Arc, OnceLock};

use fuser::{INodeNo, Notifier, OpenAccMode, OpenFlags, ReplyEntry, Request};

use crate::overlay::{NewFile, NewMode, Overlay};

use super::busy_poll::BusyPoll;
use super::convert::caller;
use super::core::Core;
use super::gate::{Gate, Pass};
use super::opens::Wish;
use super::options::ServiceOptions;
use super::workers::Workers;

/// `O_TRUNC` of the protocol, which is Linux's.
const O_TRUNC: i32 = 0o1000;

/// A union served over FUSE.
#[derive(Debug)]
pub struct Service {
    pub(super) core: Arc<Core>,
    workers: Workers,
    pub(super) gate: Gate,
    pub(super) busy_poll: BusyPoll,
}

impl Service {
    /// A service for `overlay`. Threads start when the first request needs one.
    pub fn new(overlay: Overlay, options: ServiceOptions) -> Service {
        let busy_poll = BusyPoll::new(options.busy_poll);
        let core = Arc::new(Core::new(overlay, options));
        Service { core, workers: Workers::new(), gate: Gate::default(), busy_poll }
    }

    /// What holds back changes while the union is to stay as it is.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Where the session puts its way of telling the kernel what to forget.
    pub(super) fn notifier(&self) -> Arc<OnceLock<Notifier>> {
        self.core.notifier.clone()
    }

    /// Whether an operation on the file may have to copy its content first.
    pub(super) fn is_slow(&self, node: INodeNo) -> bool {
        self.core.overlay.copies_much(node.0)
    }

    /// Runs `job` at once, or on a worker where it may take long.
    pub(super) fn dispatch(&self, slow: bool, job: impl FnOnce(&Core) + Send + 'static) {
        if slow {
            let core = self.core.clone();
            self.workers.run(move || job(&core));
        } else {
            job(&self.core);
        }
    }

    /// Makes a new entry.
    pub(super) fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new: NewFile<'static>,
        mode: NewMode,
        reply: ReplyEntry,
    ) {
        let (name, caller) = (name.to_os_string(), caller(request));
        self.change(false, move |core| {
            let made = core.overlay.create(parent.0, &name, new, mode, caller);
            core.reply_entry(made.map(Some), reply);
        });
    }

    /// As [`Service::dispatch`], for a job that changes something: it waits while the gate is shut.
    pub(super) fn change(&self, slow: bool, job: impl FnOnce(&Core) + Send + 'static) {
        let core = self.core.clone();
        let job = move |pass: Pass| {
            job(&core);
            drop(pass);
        };
        match self.gate.admit(job) {
            Some((pass, job)) if slow => self.workers.run(move || job(pass)),
            Some((pass, job)) => job(pass),
            None => {}
        }
    }

    /// What the flags of an opening ask for.
    pub(super) fn wish(&self, flags: OpenFlags, uid: u32) -> Wish {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        Wish { write, truncate: flags.0 & O_TRUNC != 0, ids: self.core.set_ids(uid) }
    }
}
