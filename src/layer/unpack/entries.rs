//! The entries of a tar: each header together with the extension headers (PAX, GNU long names) before it.

use std::io::Read;

use super::error::{Fault, Refusal, UnpackError};
use super::header::{RawHeader, Wrong, text};
use super::options::Limits;
use super::pax::{Pax, seconds};
use super::stream::{BLOCK, Stream};
use crate::layer::node::Time;
use crate::layer::source::Xattrs;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file with so many bytes of content.
    File(u64),
    /// Another name of a file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Dir,
    /// A FIFO.
    Pipe,
    /// A block device.
    Block(u32, u32),
    /// A character device.
    Char(u32, u32),
}

/// Owner, mode, time and attributes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, `07777` at most.
    pub mode: u32,
    /// The time of the last modification.
    pub mtime: Time,
    /// Extended attributes, as they stand in the tar.
    pub xattrs: Xattrs,
}

/// An entry. Its content, if it has any, is the stream's next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as it stands in the tar.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// The target of a link as it stands in the tar.
    pub link: Vec<u8>,
    /// Owner, mode and so on.
    pub attributes: Attributes,
}

/// The extension headers that stand before an entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// The entries of a stream, in order.
pub struct Entries<'a, R: Read> {
    /// The stream; between calls it stands where an entry's content begins.
    pub stream: Stream<R>,
    limits: &'a Limits,
    /// What of the last entry's content and padding nobody has used.
    rest: u64,
    padding: u64,
    count: u64,
}

impl<'a, R: Read> Entries<'a, R> {
    /// The entries of `stream`.
    pub fn new(stream: Stream<R>, limits: &'a Limits) -> Entries<'a, R> {
        Entries { stream, limits, rest: 0, padding: 0, count: 0 }
    }

    /// How many entries there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The next entry; `None` at the end of the tar, which is an end marker, or the end of the stream where a
    /// header could begin (archives without a marker exist). What was left of the last content is skipped.
    ///
    /// # Errors
    /// [`UnpackError`] for what is no tar, and for entries that no layer may have.
    pub fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut before = Extensions::default();
        let mut extended = false;
        loop {
            self.skip_rest()?;
            let offset = self.stream.position();
            let Some(block) = self.read_header(offset)? else {
                let dangling = UnpackError::Tar { offset, why: "an extension header belongs to no entry" };
                return if extended { Err(dangling) } else { Ok(None) };
            };
            let raw = RawHeader::parse(&block).map_err(|why| UnpackError::Tar { offset, why })?;
            let flag = raw.flag;
            let name = raw.name.clone();
            let step = match flag {
                b'x' | b'g' | b'L' | b'K' => self.extend(&mut before, &raw).map(|()| None),
                _ => self.entry(raw, &mut before).map(Some),
            };
            match step.map_err(|fault| fault.at(before.long_name.as_ref().unwrap_or(&name)))? {
                Some(entry) => return Ok(Some(entry)),
                // A global header stands alone.
                None => extended |= flag != b'g',
            }
        }
    }

    /// Reads some of the present entry's content; empty at its end.
    ///
    /// # Errors
    /// Those of the stream, and [`Refusal::Truncated`].
    pub(super) fn content(&mut self) -> Result<&[u8], Fault> {
        if self.rest == 0 {
            return Ok(&[]);
        }
        let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let bytes = self.stream.peek()?;
        match bytes.len().min(rest) {
            0 => Err(Refusal::Truncated.into()),
            length => Ok(&bytes[..length]),
        }
    }

    /// Uses up `count` bytes that [`Entries::content`] returned.
    pub(super) fn consume(&mut self, count: usize) {
        self.stream.consume(count);
        self.rest = self.rest.saturating_sub(count as u64);
    }

    /// Goes to the next header.
    fn skip_rest(&mut self) -> Result<(), UnpackError> {
        let (rest, padding) = (self.rest, self.padding);
        (self.rest, self.padding) = (0, 0);
        if self.stream.skip(rest)? == rest {
            // umoci's insert ends its layers with the last content. Go takes that, too.
            self.stream.skip(padding)?;
            return Ok(());
        }
        let offset = self.stream.position();
        Err(UnpackError::Tar { offset, why: "it ends within the content of an entry" })
    }

    /// Announces an entry's content of `size` bytes.
    fn begin_content(&mut self, size: u64) {
        self.rest = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// The next header block; `None` at the end.
    fn read_header(&mut self, offset: u64) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let damaged = |why: Wrong| UnpackError::Tar { offset, why };
        let mut block = [0; BLOCK];
        match self.stream.fill(&mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(damaged("it ends within a header")),
        }
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        match self.stream.fill(&mut block)? {
            0 => Ok(None),
            BLOCK if block == [0; BLOCK] => Ok(None),
            BLOCK => Err(damaged("there is half an end marker")),
            _ => Err(damaged("it ends within its end marker")),
        }
    }

    /// Takes in an extension header.
    fn extend(&mut self, before: &mut Extensions, raw: &RawHeader) -> Result<(), Fault> {
        if raw.size > self.limits.pax_bytes {
            let what = if matches!(raw.flag, b'x' | b'g') { "PAX header" } else { "name" };
            return Err(Refusal::TooLarge { what, limit: self.limits.pax_bytes }.into());
        }
        self.begin_content(raw.size);
        let mut content = Vec::with_capacity(raw.size as usize);
        while self.rest > 0 {
            let bytes = self.content()?;
            content.extend_from_slice(bytes);
            let count = bytes.len();
            self.consume(count);
        }
        match raw.flag {
            b'L' => before.long_name = Some(text(&content).to_vec()),
            b'K' => before.long_link = Some(text(&content).to_vec()),
            b'x' => before.pax = Some(Pax::parse(&content, self.limits.xattr_bytes)?),
            // Checked and then left alone, as docker, containerd and podman do: in a layer every entry says
            // all about itself, and git's comment is all that is met here.
            _ => drop(Pax::parse(&content, self.limits.xattr_bytes)?),
        }
        Ok(())
    }

    /// Puts an entry together.
    fn entry(&mut self, raw: RawHeader, before: &mut Extensions) -> Result<Entry, Fault> {
        self.count += 1;
        if self.count > self.limits.entries {
            let limit = self.limits.entries;
            return Err(UnpackError::Limit { what: "entries", limit }.into());
        }
        let pax = before.pax.take().unwrap_or_default();
        // GNU's long names win over PAX's, as in Go.
        let name = before.long_name.clone().or(pax.path).unwrap_or(raw.name);
        before.long_name = Some(name.clone());
        let link = before.long_link.take().or(pax.link).unwrap_or(raw.link);
        let size = pax.size.unwrap_or(raw.size);
        let kind = kind(raw.flag, &name, size, raw.device)?;
        self.check(&name, &link, kind)?;
        // Only regular files have content, whatever size other headers state.
        let has_content = matches!(raw.flag, b'0' | b'7' | 0);
        self.begin_content(if has_content { size } else { 0 });
        let mtime = pax.mtime.unwrap_or(Time { seconds: seconds(raw.mtime), nanos: 0 });
        let attributes = Attributes {
            uid: id(pax.uid.unwrap_or(raw.uid)).ok_or(Refusal::OutOfRange("owner"))?,
            gid: id(pax.gid.unwrap_or(raw.gid)).ok_or(Refusal::OutOfRange("group"))?,
            mode: raw.mode,
            mtime,
            xattrs: pax.xattrs.into_iter().collect(),
        };
        Ok(Entry { name, kind, link, attributes })
    }

    /// Holds an entry against the limits.
    fn check(&self, name: &[u8], link: &[u8], kind: EntryKind) -> Result<(), Refusal> {
        let Limits { path_bytes, file_bytes, .. } = *self.limits;
        for (what, path) in [("name", name), ("link target", link)] {
            if path.len() > path_bytes {
                return Err(Refusal::TooLarge { what, limit: path_bytes as u64 });
            }
            if path.contains(&0) {
                return Err(Refusal::Nul(what));
            }
        }
        match kind {
            EntryKind::File(size) if size > file_bytes => {
                Err(Refusal::TooLarge { what: "content", limit: file_bytes })
            }
            _ => Ok(()),
        }
    }
}

/// What the type flag means.
fn kind(flag: u8, name: &[u8], size: u64, device: (i128, i128)) -> Result<EntryKind, Refusal> {
    Ok(match flag {
        // Before ustar, a slash at the end was all that told a directory.
        b'0' | 0 if name.ends_with(b"/") => EntryKind::Dir,
        b'0' | b'7' | 0 => EntryKind::File(size),
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => {
            let (major, minor) = device_number(device)?;
            EntryKind::Char(major, minor)
        }
        b'4' => {
            let (major, minor) = device_number(device)?;
            EntryKind::Block(major, minor)
        }
        b'5' => EntryKind::Dir,
        b'6' => EntryKind::Pipe,
        b'S' => return Err(Refusal::Sparse),
        _ => return Err(Refusal::Type(char::from(flag))),
    })
}

/// A device number that Linux has: mknod would cut off a larger one, even down to a whiteout's 0:0.
fn device_number((major, minor): (i128, i128)) -> Result<(u32, u32), Refusal> {
    let fits = |number: i128, limit: u32| u32::try_from(number).ok().filter(|number| *number < limit);
    fits(major, 1 << 12).zip(fits(minor, 1 << 20)).ok_or(Refusal::Device)
}

/// An owner or group. The largest number means "leave it" to the system and is none.
fn id(number: i128) -> Option<u32> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX)
}
