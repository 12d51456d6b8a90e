//! Archives through `import` and `load`, into a store with a canary beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use plyfs::image::archive::load::{LoadOptions, load};
use plyfs::image::import::{ImportOptions, import};
use plyfs::image::{platform, time};
use plyfs::layer::unpack::UnpackOptions;
use plyfs::oci::config::{ImageConfig, RootFs};
use plyfs::oci::descriptor::{Descriptor, REF_NAME};
use plyfs::oci::digest::DiffId;
use plyfs::oci::manifest::{Index, Manifest};
use plyfs::oci::media_type::{self, Compression};
use plyfs::store::{Depth, Severity, Store};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::mutate::{Random, mutate};
use crate::rounds;

const BLOCK: usize = 512;

/// A store, and beside it a tree that must not change.
struct Place {
    store: Store,
    dir: TempDir,
    before: BTreeMap<PathBuf, (u32, i64, Vec<u8>)>,
}

impl Place {
    fn new() -> Place {
        // In memory where that can be had: nothing here is about what survives a crash.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let canary = dir.path().join("canary");
        fs::create_dir_all(canary.join("sub")).unwrap();
        fs::write(canary.join("file"), "canary").unwrap();
        symlink("file", canary.join("link")).unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let before = listing(dir.path());
        Place { store, dir, before }
    }

    fn canary(&self) -> String {
        self.dir.path().join("canary").to_str().unwrap().to_owned()
    }

    /// Fails if anything but the store changed; empties the store.
    fn verify(&self) {
        assert_eq!(listing(self.dir.path()), self.before);
        let bad: Vec<_> = self.store.check(Depth::Contents).unwrap();
        let bad: Vec<_> = bad.iter().filter(|finding| finding.severity() == Severity::Error).collect();
        assert!(bad.is_empty(), "{bad:?}");
        self.store.lock().unwrap().set_index_and_collect(&Index::new(Vec::new())).unwrap();
        assert_eq!(fs::read_dir(self.store.root().join("layers")).unwrap().count(), 0);
    }
}

/// What lies in a directory but for the store: mode, time and content of each file.
fn listing(root: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if path.parent() == Some(root) && path.ends_with("store") {
                continue;
            }
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.clone(), (metadata.mode(), metadata.mtime_nsec(), content));
            if metadata.is_dir() {
                pending.push(path);
            }
        }
    }
    found
}

/// One of each kind of entry.
fn layer(canary: &str) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut add = |kind: EntryType, name: &str, link: &str, data: &str, xattrs: &[(&str, &[u8])]| {
        if !xattrs.is_empty() {
            tar.append_pax_extensions(xattrs.iter().copied()).unwrap();
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(data.len() as u64);
        header.set_mtime(1_000_000);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        tar.append_data(&mut header, name, data.as_bytes()).unwrap();
    };
    add(EntryType::Directory, "d/", "", "", &[("SCHILY.xattr.user.a", b"b"), ("mtime", b"-5.25")]);
    add(EntryType::Regular, "d/file", "", &"content ".repeat(90), &[("SCHILY.xattr.user.c", b"\0\xff")]);
    add(EntryType::Link, "d/link", "d/file", "", &[]);
    add(EntryType::Symlink, "out", canary, "", &[]);
    add(EntryType::Symlink, "up", "../../canary", "", &[]);
    add(EntryType::Regular, "d/sub/deep/file", "", "", &[("uid", b"70000"), ("gid", b"3000000000")]);
    add(EntryType::Regular, "d/.wh.gone", "", "", &[]);
    add(EntryType::Regular, "d/sub/.wh..wh..opq", "", "", &[]);
    add(EntryType::Char, "null", "", "", &[]);
    add(EntryType::Fifo, "fifo", "", "", &[]);
    add(EntryType::Regular, &format!("d/{}", "n".repeat(180)), "", "x", &[]);
    tar.into_inner().unwrap()
}

fn words(canary: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = [
        "../",
        "/",
        "//",
        "./",
        "out/",
        "up/",
        "out\0",
        "d/",
        ".wh.",
        ".wh..wh..opq\0",
        "ustar  \0",
        "ustar\x0000",
        "\0",
        "path=",
        "linkpath=",
        "size=",
        "GNU.sparse.map=",
        "SCHILY.xattr.trusted.overlay.opaque=y\n",
        "user.overlay.",
        "77777777777\0",
        "-1",
        "99999999999999999999",
        "L",
        "K",
        "x",
        "g",
        "1",
        "2",
        "5",
        "S",
    ]
    .iter()
    .map(|word| word.as_bytes().to_vec())
    .collect();
    words.extend([vec![0x80; 8], vec![0xff; 12], vec![0; BLOCK], format!("{canary}/new\0").into_bytes()]);
    words
}

/// Changes a tar; mostly so that its headers' checksums stay right, as otherwise little of it would be looked at.
fn mutate_tar(random: &mut Random, tar: &mut Vec<u8>, words: &[Vec<u8>]) {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    match random.below(4) {
        // Within headers, without moving anything.
        0 | 1 => {
            for _ in 0..=random.below(5) {
                let block = random.below(tar.len() / BLOCK) * BLOCK;
                let field =
                    *random.choose(&[&0, &100, &108, &116, &124, &136, &156, &157, &257, &329, &337, &345]);
                let word = random.choose(&words);
                let end = (block + field + word.len()).min(tar.len());
                tar.splice(block + field..end, word.iter().take(end - block - field).copied());
            }
        }
        // Entries in another order, twice, or gone.
        2 => {
            let blocks = tar.len() / BLOCK;
            let (from, to) = (random.below(blocks), random.below(blocks));
            let piece = tar[from * BLOCK..(from + 1 + random.below(blocks - from)) * BLOCK].to_vec();
            tar.splice(to * BLOCK..to * BLOCK, piece);
            mutate(random, tar, &words);
        }
        _ => mutate(random, tar, &words),
    }
    if !random.one_in(5) {
        seal(tar);
    }
}

/// Gives all blocks that look like headers the right checksum.
fn seal(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}

fn squeezed(tar: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut out, tar).unwrap();
    out.finish().unwrap()
}

/// Runs `round` on inputs; looks after the canary and at the store every now and then.
fn rounds_in(
    place: &Place,
    name: &str,
    make: impl Fn(&mut Random) -> Vec<u8>,
    round: impl Fn(&Place, &[u8]),
) {
    let mut n = 0;
    rounds(name, make, |bytes| {
        round(place, bytes);
        n += 1;
        if n % 50 == 0 {
            place.verify();
        }
    });
    place.verify();
}

fn unpack() -> UnpackOptions {
    let mut options = UnpackOptions::default();
    // What a random size asks for is not to fill the memory.
    (options.limits.total_bytes, options.limits.file_bytes) = (16 << 20, 16 << 20);
    options
}

#[test]
fn imported() {
    let place = Place::new();
    let (tar, words) = (layer(&place.canary()), words(&place.canary()));
    let options = ImportOptions {
        name: Some("fuzz:1".parse().unwrap()),
        changes: Vec::new(),
        message: None,
        platform: platform::host(),
        created: time::Timestamp::UNIX_EPOCH,
        source: "fuzz".to_owned(),
        compression: Some(Compression::None),
        unpack: unpack(),
    };
    import(&place.store.lock().unwrap(), &*tar, &options).expect("a valid one");
    let make = |random: &mut Random| {
        let mut tar = tar.clone();
        mutate_tar(random, &mut tar, &words);
        if random.one_in(10) {
            tar = squeezed(&tar);
            mutate(random, &mut tar, &[b"\x1f\x8b", b"\0"]);
        }
        tar
    };
    rounds_in(&place, "import", make, |place, bytes| {
        drop(import(&place.store.lock().unwrap(), bytes, &options));
    });
}

/// An image layout with docker's list beside it; the digests are right.
fn archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let kind = Compression::None.layer_media_type();
    let blobs: Vec<Descriptor> = layers.iter().map(|tar| Descriptor::of(kind, tar)).collect();
    let diff_ids: Vec<DiffId> = blobs.iter().map(|blob| DiffId::new(blob.digest)).collect();
    let config = ImageConfig { rootfs: RootFs { diff_ids, ..RootFs::default() }, ..ImageConfig::default() };
    let config = serde_json::to_vec(&config).unwrap();
    let described = Descriptor::of(media_type::CONFIG, &config);
    let place = |descriptor: &Descriptor| format!("blobs/sha256/{}", descriptor.digest.hex());
    let list = serde_json::json!([{
        "Config": place(&described), "RepoTags": ["fuzz:2"], "Layers": blobs.iter().map(place).collect::<Vec<_>>()
    }]);
    let mut files = vec![(place(&described), config)];
    files.extend(blobs.iter().map(place).zip(layers.iter().cloned()));
    let manifest = serde_json::to_vec(&Manifest::new(described, blobs)).unwrap();
    let mut described = Descriptor::of(media_type::MANIFEST, &manifest);
    files.push((place(&described), manifest));
    described.annotations.insert(REF_NAME.to_owned(), "fuzz:1".to_owned());
    files.push(("index.json".to_owned(), serde_json::to_vec(&Index::new(vec![described])).unwrap()));
    files.push(("manifest.json".to_owned(), serde_json::to_vec(&list).unwrap()));
    let mut tar = Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, name, &*data).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn loaded() {
    let place = Place::new();
    let (tar, words) = (layer(&place.canary()), words(&place.canary()));
    let options = LoadOptions { unpack: unpack(), ..LoadOptions::default() };
    load(&place.store.lock().unwrap(), &*archive(&[tar.clone(), tar.clone()]), &options)
        .expect("a valid one");
    let make = |random: &mut Random| {
        let (mut lower, mut upper) = (tar.clone(), tar.clone());
        match random.below(3) {
            0 => {
                let mut whole = archive(&[lower, upper]);
                mutate_tar(random, &mut whole, &words);
                whole
            }
            other => {
                if other == 1 {
                    mutate_tar(random, &mut lower, &words);
                }
                mutate_tar(random, &mut upper, &words);
                archive(&[lower, upper])
            }
        }
    };
    rounds_in(&place, "load", make, |place, bytes| {
        drop(load(&place.store.lock().unwrap(), bytes, &options));
    });
}
