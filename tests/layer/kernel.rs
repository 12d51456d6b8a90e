//! Random work on the kernel's overlayfs, with renamed directories and metadata-only copies: the layer's tar,
//! applied to the lowers, must make the tree that the mount showed, and the diff must tell the difference.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use plyfs::layer::pack::PackOptions;

use crate::model::{File, Tree};
use crate::tree::{Layer, Layers, entries, privileged, set_mtime, skipped};

/// A mount of the kernel's overlayfs, unmounted on drop.
struct Overlay {
    at: PathBuf,
}

impl Overlay {
    /// `None`, with a loud word, where the kernel refuses.
    fn mount(upper: &Layer, lowers: &[&Layer], work: &Path, options: &str) -> Option<Overlay> {
        let at = work.with_extension("merged");
        fs::create_dir(work).expect("a work directory");
        fs::create_dir(&at).expect("a mount point");
        let lowers: Vec<&str> = lowers.iter().map(|l| l.root.to_str().expect("text")).collect();
        let (lowers, upper, work) = (lowers.join(":"), upper.root.display(), work.display());
        let options = format!("{options},lowerdir={lowers},upperdir={upper},workdir={work}");
        let mount =
            Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&at).status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Overlay { at });
        }
        skipped(&format!("the kernel's overlayfs does not mount with {options}"));
        None
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.at).status();
        assert!(status.is_ok_and(|s| s.success()), "{} stays mounted", self.at.display());
    }
}

/// Small numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    /// A path of up to three components from few names, so that operations meet.
    fn path(&mut self, root: &Path) -> PathBuf {
        let depth = 1 + self.below(3);
        (0..depth).fold(root.to_owned(), |path, _| path.join(["a", "b", "c", "d"][self.below(4)]))
    }
}

/// One random operation; most fail on some trees, which is fine.
fn act(random: &mut Random, root: &Path, kinds: usize) -> std::io::Result<()> {
    let path = random.path(root);
    let other = random.path(root);
    match random.below(kinds) {
        0 | 1 => fs::create_dir_all(&path),
        2 | 3 => fs::write(&path, random.below(1000).to_string()),
        4 => fs::remove_file(&path),
        5 => fs::remove_dir_all(&path),
        6..=8 => fs::rename(&path, &other),
        9 => fs::set_permissions(&path, fs::Permissions::from_mode(0o700 + random.below(0o100) as u32)),
        10 => std::os::unix::fs::symlink("target", &path),
        _ => fs::hard_link(&path, &other),
    }
}

/// All kinds of operations, and all but the making of hard links: a renamed directory's files lose the links
/// that they had outside of it, as a layer cannot say them.
const ALL: usize = 16;
const NO_LINKS: usize = 11;

/// Tries so many operations.
fn work(random: &mut Random, root: &Path, kinds: usize, operations: usize) {
    for _ in 0..operations {
        // Many fail, on a path that is not there or is another type.
        drop(act(random, root, kinds));
    }
}

/// What is compared: the mount's options, and the operations that made the lowers.
const CASES: [(&str, usize); 4] = [
    ("redirect_dir=on,metacopy=on,index=off", NO_LINKS),
    ("redirect_dir=off,metacopy=off,index=off", NO_LINKS),
    ("redirect_dir=off,metacopy=off,index=on", ALL),
    ("redirect_dir=on,metacopy=on,index=on", NO_LINKS),
];

#[test]
fn the_tar_makes_the_merged_tree_and_the_diff_tells_the_difference() {
    if !privileged("comparison with the kernel's overlayfs") {
        return;
    }
    for (options, kinds) in CASES {
        let mut entries = 0;
        for seed in 0..25 {
            match compare(seed, options, kinds) {
                Some(count) => entries += count,
                None => return,
            }
        }
        assert!(entries > 100, "too little was compared: {entries} entries");
    }
}

/// One comparison; returns the number of entries of the tar, `None` where there is no overlayfs.
fn compare(seed: u64, options: &str, kinds: usize) -> Option<usize> {
    let mut random = Random(seed);
    let layers = Layers::new();
    work(&mut random, &layers.base.root, kinds, 40);
    // The lower bears the kernel's marks too.
    let overlay = Overlay::mount(&layers.lower, &[&layers.base], &layers.beside("first"), options)?;
    work(&mut random, &overlay.at, NO_LINKS, 15);
    drop(overlay);
    let dir = layers.beside("second");
    let overlay = Overlay::mount(&layers.upper, &[&layers.lower, &layers.base], &dir, options)?;
    let before = Tree::read(&overlay.at);
    work(&mut random, &overlay.at, ALL, 25);
    for name in ["a", "b/c"] {
        let path = overlay.at.join(name);
        if path.symlink_metadata().is_ok() {
            set_mtime(&path, -5, 250_000_000);
        }
    }
    let after = Tree::read(&overlay.at);
    drop(overlay);
    let context = format!("seed {seed}, {options}");
    let tar =
        entries(&layers.pack_with(&PackOptions { work: Some(dir.clone()), ..PackOptions::default() }).1);
    let applied = before.clone().apply(&tar);
    if applied != after {
        let paths: Vec<_> = tar.iter().map(|e| (&e.path, &e.kind, &e.link)).collect();
        let differences = differences(&applied, &after);
        panic!("{context}: the tar makes another tree:\n{differences:#?}\n{paths:#?}");
    }
    assert_diff(&layers.diff_with(Some(&dir)), &before, &after, &context);
    Some(tar.len())
}

/// The paths at which two trees differ.
fn differences<'a>(one: &'a Tree, two: &'a Tree) -> Vec<(&'a String, Option<&'a File>, Option<&'a File>)> {
    let paths: BTreeSet<&String> = one.0.keys().chain(two.0.keys()).collect();
    let both = paths.into_iter().map(|path| (path, one.0.get(path), two.0.get(path)));
    both.filter(|(_, a, b)| a != b).collect()
}

/// Holds the diff against what comparing the two trees gives: the same additions, the same deletions (only the
/// topmost of a deleted tree), and no change passed over.
fn assert_diff(lines: &[String], before: &Tree, after: &Tree, context: &str) {
    let listed = |letter: &str| -> BTreeSet<String> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(letter)?.strip_prefix(" /").map(str::to_owned))
            .collect()
    };
    let added: BTreeSet<String> = after.0.keys().filter(|p| !before.0.contains_key(*p)).cloned().collect();
    assert_eq!(listed("A"), added, "{context}");
    let parent_stays = |path: &str| path.rsplit_once('/').is_none_or(|(dir, _)| after.is_dir(dir));
    let gone = before.0.keys().filter(|p| !after.0.contains_key(*p) && parent_stays(p));
    assert_eq!(listed("D"), gone.cloned().collect(), "{context}");
    let changed = listed("C");
    for (path, _, now) in differences(before, after) {
        let noted = changed.contains(path) || added.contains(path) || now.is_none();
        assert!(noted || only_links_differ(before, after, path), "{context}: {path} is not in {lines:#?}");
    }
    assert!(
        changed.iter().all(|p| before.0.contains_key(p) && after.0.contains_key(p)),
        "{context}: {lines:#?}"
    );
}

/// Whether a file only lost or gained other names, which is no change of its own.
fn only_links_differ(before: &Tree, after: &Tree, path: &str) -> bool {
    let plain = |tree: &Tree| tree.0.get(path).map(|file| File { same_as: String::new(), ..file.clone() });
    plain(before) == plain(after)
}
