//! Listings as the kernel wants them: filled until there is no more room, or until an entry cannot be told.
//!
//! What was filled in is told in any case: the kernel counts a lookup for each entry that it is told of with attributes, and
//! so does the union. What went wrong behind it is met again when the kernel goes on there.

use std::time::Duration;

use fuser::{FileAttr, FileType, INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use crate::overlay::{Error, Line, ROOT_NODE};

use super::convert::{file_attr, file_type, no_attr};
use super::core::{Core, GENERATION};

/// Fills a listing of names, numbers and types from a position on.
pub(super) fn fill(core: &Core, reply: &mut ReplyDirectory, node: INodeNo, from: u64) -> Result<(), Error> {
    let mut filled = false;
    let listed = core.overlay.list(node.0, from, |line| {
        let full = reply.add(INodeNo(line.ino), line.next, file_type(line.kind), &line.name);
        filled |= !full;
        !full
    });
    if filled { Ok(()) } else { listed }
}

/// Fills a listing with attributes, which counts a lookup for each entry.
pub(super) fn fill_plus(
    core: &Core,
    reply: &mut ReplyDirectoryPlus,
    node: INodeNo,
    from: u64,
) -> Result<(), Error> {
    let mut filled = false;
    let mut failure = Ok(());
    let listed = core.overlay.list(node.0, from, |line| match add_plus(core, reply, node, &line) {
        Ok(full) => {
            filled |= !full;
            !full
        }
        Err(e) => {
            failure = Err(e);
            false
        }
    });
    if filled { Ok(()) } else { listed.and(failure) }
}

/// Adds one entry; returns whether there was no room for it.
fn add_plus(core: &Core, reply: &mut ReplyDirectoryPlus, node: INodeNo, line: &Line) -> Result<bool, Error> {
    if line.name == "." || line.name == ".." {
        let number = INodeNo(line.ino.max(ROOT_NODE));
        let attr = FileAttr { ino: number, kind: FileType::Directory, ..no_attr() };
        return Ok(reply.add(INodeNo(line.ino), line.next, &line.name, &Duration::ZERO, &attr, GENERATION));
    }
    let Some(entry) = core.overlay.lookup_listed(node.0, &line.name)? else { return Ok(false) };
    let ttl = core.entry_attr_ttl(&entry);
    let attr = file_attr(&core.settled(entry.node, entry.attr), entry.node);
    let full = reply.add(INodeNo(entry.node), line.next, &line.name, &ttl, &attr, GENERATION);
    if full {
        core.overlay.forget(entry.node, 1);
    }
    Ok(full)
}
