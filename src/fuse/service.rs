//! The service: a union with its live openings, and on which thread a request is answered.

use std::ffi::OsStr;
use std::sync::{Arc, OnceLock};

use fuser::{INodeNo, Notifier, OpenAccMode, OpenFlags, ReplyEntry, Request};

use crate::sys::fs;

use crate::overlay::{Error, NewFile, NewMode, Overlay, Patience};

use super::convert::caller;
use super::core::Core;
use super::gate::Gate;
use super::opens::OpenRequest;
use super::options::ServiceOptions;
use super::task::Task;

/// `O_TRUNC` of the protocol, which is Linux's.
const O_TRUNC: i32 = 0o1000;
/// `O_DIRECT`, likewise.
const O_DIRECT: i32 = fs::OFlags::DIRECT.bits() as i32;

/// A union served over FUSE.
#[derive(Debug)]
pub struct Service {
    pub(super) core: Arc<Core>,
    pub(super) gate: Gate,
}

impl Service {
    /// A service for `overlay`. Threads start when the first request needs one.
    pub fn new(overlay: Overlay, options: ServiceOptions) -> Service {
        let core = Arc::new(Core::new(overlay, options));
        Service { core, gate: Gate::default() }
    }

    /// What holds back changes while the union is to stay as it is.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Where the session puts its way of telling the kernel what to forget.
    pub(super) fn notifier(&self) -> Arc<OnceLock<Notifier>> {
        self.core.notifier.clone()
    }

    /// Tries an operation at once; `None` where it takes long.
    pub(super) fn at_once<T>(
        &self,
        operation: impl FnOnce() -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        if self.core.readers.are_slow() {
            return None;
        }
        let result = Patience::Short.run(operation);
        (!matches!(result, Err(Error::Long | Error::Busy(_)))).then_some(result)
    }

    /// Answers a request that changes nothing of the union: tried at once, gone on with elsewhere if it takes long.
    pub(super) fn serve<T, R, O, F>(&self, reply: R, operation: O, finish: F)
    where
        R: Send + 'static,
        O: Fn(&Core, &mut R) -> Result<T, Error> + Send + 'static,
        F: FnOnce(&Core, R, Result<T, Error>) + Send + 'static,
    {
        Task { pass: None, reply, operation, finish }.start(&self.core);
    }

    /// The same for one that is known to take long.
    pub(super) fn serve_long<T, R, O, F>(&self, reply: R, operation: O, finish: F)
    where
        R: Send + 'static,
        O: Fn(&Core, &mut R) -> Result<T, Error> + Send + 'static,
        F: FnOnce(&Core, R, Result<T, Error>) + Send + 'static,
    {
        Task { pass: None, reply, operation, finish }.start_long(&self.core);
    }

    /// As [`Service::serve`], for a request that changes something: it waits while the gate is shut.
    pub(super) fn change<T, R, O, F>(&self, reply: R, operation: O, finish: F)
    where
        R: Send + 'static,
        O: Fn(&Core, &mut R) -> Result<T, Error> + Send + 'static,
        F: FnOnce(&Core, R, Result<T, Error>) + Send + 'static,
    {
        let core = self.core.clone();
        let task = move |pass| Task { pass: Some(pass), reply, operation, finish }.start(&core);
        if let Some((pass, task)) = self.gate.admit(task) {
            task(pass);
        }
    }

    /// As [`Service::change`], for one that is known to take long.
    pub(super) fn change_long<T, R, O, F>(&self, reply: R, operation: O, finish: F)
    where
        R: Send + 'static,
        O: Fn(&Core, &mut R) -> Result<T, Error> + Send + 'static,
        F: FnOnce(&Core, R, Result<T, Error>) + Send + 'static,
    {
        let core = self.core.clone();
        let task = move |pass| Task { pass: Some(pass), reply, operation, finish }.start_long(&core);
        if let Some((pass, task)) = self.gate.admit(task) {
            task(pass);
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
        self.change(
            reply,
            move |core, _| core.overlay.create(parent.0, &name, new, mode, caller),
            |core, reply, made| core.reply_entry(made.map(Some), reply),
        );
    }

    /// What the flags of an open request ask for.
    pub(super) fn open_request(&self, request: &Request, flags: OpenFlags) -> OpenRequest {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let map = flags.acc_mode() == OpenAccMode::O_RDWR;
        let direct = flags.0 & O_DIRECT != 0;
        OpenRequest {
            write,
            map,
            direct,
            truncate: flags.0 & O_TRUNC != 0,
            ids: self.core.set_ids(caller(request)),
        }
    }
}
