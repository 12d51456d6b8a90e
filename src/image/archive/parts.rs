//! The files of an archive, each staged as a blob: what the documents refer to is found by path or by digest.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path};

use super::bounded::{Allowance, Bounded};
use crate::image::MAX_DOCUMENT;
use crate::image::error::{ImageError, Result};
use crate::layer::compress::decompress;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::store::{StagedBlob, Writer};

/// How long an entry's headers may be together, in bytes.
const MOST_HEADERS: u64 = 1 << 20;

/// How much an archive may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The number of its entries.
    pub entries: u64,
    /// The bytes of its files together.
    pub bytes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> ArchiveLimits {
        ArchiveLimits { entries: 100_000, bytes: 256 << 30 }
    }
}

/// The files of an archive.
#[derive(Default)]
pub struct Parts {
    blobs: HashMap<Digest, StagedBlob>,
    paths: HashMap<String, Digest>,
    links: HashMap<String, String>,
    /// What is read so far.
    entries: u64,
    bytes: u64,
}

impl Parts {
    /// Reads a tar, compressed in any known way. Nothing in it is written anywhere but to blobs.
    ///
    /// # Errors
    /// The tar is damaged or goes beyond the limits.
    pub fn from_tar(writer: &Writer<'_>, input: impl Read, limits: &ArchiveLimits) -> Result<Parts> {
        let read = || ImageError::io("read the archive");
        let (_, tar) = decompress(input).map_err(read())?;
        let mut parts = Parts::default();
        let allowance = Allowance::default();
        let mut archive = tar::Archive::new(Bounded::new(tar, allowance.clone()));
        let mut entries = archive.entries().map_err(read())?;
        loop {
            allowance.grant(MOST_HEADERS);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(read())?;
            allowance.grant(u64::MAX);
            parts.count(1, 0, limits)?;
            parts.take_in(writer, &mut entry, limits)?;
            parts.pass_over(&mut entry, limits)?;
        }
        // A writer at the other end of a pipe wants to get rid of all, and a checksum may follow.
        allowance.grant(u64::MAX);
        parts.pass_over(&mut archive.into_inner(), limits)?;
        Ok(parts)
    }

    /// Takes in an entry of a tar, if it is a file or a link.
    fn take_in(
        &mut self,
        writer: &Writer<'_>,
        entry: &mut tar::Entry<'_, impl Read>,
        limits: &ArchiveLimits,
    ) -> Result<()> {
        let Some(path) = plain_path(&String::from_utf8_lossy(&entry.path_bytes())) else { return Ok(()) };
        let kind = entry.header().entry_type();
        match kind {
            tar::EntryType::Regular | tar::EntryType::Continuous => self.stage(writer, path, entry, limits),
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                let beside = kind == tar::EntryType::Symlink;
                let base = if beside { path.rsplit_once('/').map_or("", |(dir, _)| dir) } else { "" };
                if let Some(target) = joined_path(base, &target) {
                    self.links.insert(path, target);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads what nobody wanted; it counts.
    fn pass_over(&mut self, rest: &mut impl Read, limits: &ArchiveLimits) -> Result<()> {
        let left = limits.bytes.saturating_sub(self.bytes);
        let mut bounded = rest.take(left.saturating_add(1));
        let size = io::copy(&mut bounded, &mut io::sink()).map_err(ImageError::io("read the archive"))?;
        self.count(0, size, limits)
    }

    /// Reads an image layout that is a directory. Links in it are not followed.
    ///
    /// # Errors
    /// A file cannot be read, or the limits do not allow so many.
    pub fn from_directory(writer: &Writer<'_>, root: &Path, limits: &ArchiveLimits) -> Result<Parts> {
        let mut parts = Parts::default();
        let mut pending = vec![String::new()];
        while let Some(dir) = pending.pop() {
            let listing = fs::read_dir(root.join(&dir)).map_err(ImageError::io("list the image layout"))?;
            for entry in listing {
                let entry = entry.map_err(ImageError::io("list the image layout"))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                let kind = entry.file_type().map_err(ImageError::io("list the image layout"))?;
                if kind.is_dir() && path.split('/').count() < 4 {
                    pending.push(path);
                } else if kind.is_file() {
                    let mut file = File::open(entry.path())
                        .map_err(ImageError::io("open a file of the image layout"))?;
                    parts.count(1, 0, limits)?;
                    parts.stage(writer, path, &mut file, limits)?;
                }
            }
        }
        Ok(parts)
    }

    /// Stages a file's content.
    fn stage(
        &mut self,
        writer: &Writer<'_>,
        path: String,
        content: &mut impl Read,
        limits: &ArchiveLimits,
    ) -> Result<()> {
        let mut blob = writer.stage_blob()?;
        let left = limits.bytes.saturating_sub(self.bytes);
        let mut bounded = content.take(left.saturating_add(1));
        let size = io::copy(&mut bounded, &mut blob).map_err(ImageError::io("read the archive"))?;
        self.count(0, size, limits)?;
        let blob = blob.finish()?;
        self.paths.insert(path, blob.digest());
        self.blobs.insert(blob.digest(), blob);
        Ok(())
    }

    fn count(&mut self, entries: u64, bytes: u64, limits: &ArchiveLimits) -> Result<()> {
        self.entries = self.entries.saturating_add(entries);
        self.bytes = self.bytes.saturating_add(bytes);
        let over = |what: &str, limit: u64| {
            let raise = format!("--max-{what} raises the limit");
            Err(ImageError::Archive(format!("it has more than {limit} {what}; {raise}")))
        };
        if self.entries > limits.entries {
            return over("entries", limits.entries);
        }
        if self.bytes > limits.bytes {
            return over("bytes", limits.bytes);
        }
        Ok(())
    }

    /// Whether there is a file at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.at(path).is_some()
    }

    /// The blob at `path`, links within the archive followed.
    pub fn at(&self, path: &str) -> Option<&StagedBlob> {
        const MOST_LINKS: usize = 16;
        let mut path = plain_path(path)?;
        for _ in 0..MOST_LINKS {
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => return self.paths.get(&path).and_then(|digest| self.blobs.get(digest)),
            }
        }
        None
    }

    /// The blob with this digest, wherever it stands.
    pub fn blob(&self, digest: Digest) -> Option<&StagedBlob> {
        self.blobs.get(&digest)
    }

    /// Takes the blob out, for publishing. `None` where it was taken or never there.
    pub fn take(&mut self, digest: Digest) -> Option<StagedBlob> {
        self.blobs.remove(&digest)
    }

    /// The bytes of the document at `path`.
    ///
    /// # Errors
    /// It is missing or too long.
    pub fn document(&self, path: &str) -> Result<Vec<u8>> {
        let blob = self.at(path).ok_or_else(|| ImageError::Archive(format!("it has no file {path}")))?;
        read_document(blob, path)
    }

    /// The bytes of a document by its descriptor.
    ///
    /// # Errors
    /// It is missing, too long, or of another size.
    pub fn described(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        read_document(self.expect(descriptor)?, &descriptor.digest.to_string())
    }

    /// The blob that a descriptor tells of.
    ///
    /// # Errors
    /// It is missing or its size is another. A file that stands where the blob should be and has other bytes is told.
    pub fn expect(&self, descriptor: &Descriptor) -> Result<&StagedBlob> {
        let digest = descriptor.digest;
        let Some(blob) = self.blob(digest) else {
            let place = format!("blobs/sha256/{}", digest.hex());
            return Err(ImageError::Archive(match self.at(&place) {
                Some(other) => format!("blob {digest} is damaged: its digest is {}", other.digest()),
                None => format!("blob {digest} is missing"),
            }));
        };
        if blob.size() != descriptor.size {
            return Err(ImageError::Archive(format!(
                "blob {digest} should have {} bytes and has {}",
                descriptor.size,
                blob.size()
            )));
        }
        Ok(blob)
    }
}

fn read_document(blob: &StagedBlob, what: &str) -> Result<Vec<u8>> {
    if blob.size() > MAX_DOCUMENT {
        return Err(ImageError::Archive(format!("{what} has {} bytes, too many", blob.size())));
    }
    let mut bytes = Vec::new();
    blob.open()?.read_to_end(&mut bytes).map_err(ImageError::io("read a document of the archive"))?;
    Ok(bytes)
}

/// A path of an archive without `.` and slashes too many; `None` where it leads out or names nothing.
fn plain_path(path: &str) -> Option<String> {
    joined_path("", path)
}

/// `path` as seen from the directory `base`, `..` resolved; `None` where it leads out or names nothing.
fn joined_path(base: &str, path: &str) -> Option<String> {
    let mut names: Vec<&str> = base.split('/').filter(|name| !name.is_empty()).collect();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::ParentDir => drop(names.pop()?),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    (!names.is_empty()).then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(plain_path("./blobs//sha256/x").as_deref(), Some("blobs/sha256/x"));
        assert_eq!(plain_path("/manifest.json").as_deref(), Some("manifest.json"));
        assert_eq!(plain_path("../x"), None);
        assert_eq!(plain_path("."), None);
        assert_eq!(joined_path("a/b", "../c/layer.tar").as_deref(), Some("a/c/layer.tar"));
        assert_eq!(joined_path("a", "../../c"), None);
    }

    fn read(archive: &[u8], limits: &ArchiveLimits) -> Result<Parts> {
        let dir = tempfile::tempdir().expect("a directory");
        let store = crate::store::Store::open(&dir.path().join("store")).expect("a store");
        Parts::from_tar(&store.lock().expect("a lock"), archive, limits)
    }

    /// A file `f` with a GNU long name of so many bytes, and what stands behind it.
    fn long_named(length: usize, behind: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        tar.append_data(&mut header, "n".repeat(length), &b"x"[..]).expect("appended");
        [tar.into_inner().expect("an archive"), behind.to_vec()].concat()
    }

    #[test]
    fn headers_are_read_no_further_than_their_limit() {
        let limits = ArchiveLimits::default();
        assert!(read(&long_named(200, b""), &limits).expect("read").has(&"n".repeat(200)));
        assert!(read(&long_named(2 << 20, b""), &limits).is_err());
    }

    #[test]
    fn everything_counts_to_the_end() {
        let archive = long_named(1, &[7; 50_000]);
        let limits = |entries, bytes| ArchiveLimits { entries, bytes };
        assert!(read(&archive, &limits(1, 52_000)).is_ok());
        assert!(read(&archive, &limits(1, 49_999)).is_err());
        let refused = read(&archive, &limits(0, 52_000)).err().expect("one entry too many");
        assert!(
            refused.to_string().ends_with("more than 0 entries; --max-entries raises the limit"),
            "{refused}"
        );
    }
}
