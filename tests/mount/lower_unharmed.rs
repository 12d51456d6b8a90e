//! A writer comes while others hold the lower's file open (S2, S31, S32, S33): the write must never reach the layer.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::calls::{Mapping, Protection, truncate};
use crate::harness::{Io, Mount, Stand, both_ways};

both_ways! {
    a_write, a_truncating_opening, an_append, a_mapped_write, a_truncation_by_path, a_lengthening_by_path,
    a_truncation_of_an_open_file, another_process, another_name_of_the_file, an_allocation, a_copied_range,
    a_change_of_mode_then_a_write, a_reader_that_maps, several_readers_and_writers, an_opening_for_both_without_a_write,
    a_lower_of_a_read_only_mount, attributes_through_an_old_reader,
    a_rename_then_a_write, a_new_link_then_a_write, an_attribute_then_an_append, an_owner_then_a_truncation,
    openings_at_once,
}

const OLD: &str = "old content";

/// Holds `file` open for reading while `change` writes to it; then the lower must be as it was, and everybody who
/// opens the file anew must find `new`.
fn while_held(stand: &Stand, new: &str, change: impl FnOnce(&Path)) {
    let lower = stand.lower_file("file", OLD);
    let mount = stand.mount("");
    let mut held = File::open(mount.path("file")).unwrap();
    assert_eq!(content(&mut held), OLD);
    change(&mount.path("file"));
    assert_eq!(fs::read_to_string(lower).unwrap(), OLD, "the lower's file");
    check_readers(stand, &mount, &mut held, new);
}

fn check_readers(stand: &Stand, mount: &Mount<'_>, held: &mut File, new: &str) {
    assert_eq!(mount.read("file"), new, "the merged file");
    assert_eq!(fs::metadata(mount.path("file")).unwrap().len(), new.len() as u64);
    assert_eq!(fs::read_to_string(stand.upper("file")).unwrap(), new, "the copy");
    assert_eq!(content(held), new, "what the old reader sees");
    assert_eq!(held.metadata().unwrap().len(), new.len() as u64);
}

/// All of an open file.
fn content(file: &mut File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn opened(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn a_write(stand: Stand) {
    while_held(&stand, "new content", |path| {
        opened(path).write_all(b"new").unwrap();
    });
}

fn a_truncating_opening(stand: Stand) {
    while_held(&stand, "new", |path| fs::write(path, "new").unwrap());
}

fn an_append(stand: Stand) {
    while_held(&stand, "old content and more", |path| {
        OpenOptions::new().append(true).open(path).unwrap().write_all(b" and more").unwrap();
    });
}

fn a_mapped_write(stand: Stand) {
    while_held(&stand, "new content", |path| {
        let file = opened(path);
        let mapping = Mapping::new(&file, OLD.len(), Protection::Write).unwrap();
        mapping.write(0, b"new");
        mapping.sync();
    });
}

fn a_truncation_by_path(stand: Stand) {
    while_held(&stand, "old", |path| truncate(path, 3).unwrap());
}

fn a_lengthening_by_path(stand: Stand) {
    while_held(&stand, "old content\0\0", |path| truncate(path, 13).unwrap());
}

fn a_truncation_of_an_open_file(stand: Stand) {
    while_held(&stand, "", |path| opened(path).set_len(0).unwrap());
}

fn another_process(stand: Stand) {
    while_held(&stand, "NEW content", |path| {
        let write = "printf NEW | dd of=\"$0\" conv=notrunc status=none";
        assert!(Command::new("sh").args(["-c", write]).arg(path).status().unwrap().success());
    });
}

fn another_name_of_the_file(stand: Stand) {
    let lower = stand.lower_file("file", OLD);
    fs::hard_link(lower, stand.lower("other")).unwrap();
    while_held(&stand, "new content", |path| {
        opened(&path.with_file_name("other")).write_all(b"new").unwrap();
    });
}

fn an_allocation(stand: Stand) {
    while_held(&stand, "old content\0\0\0\0\0", |path| {
        rustix::fs::fallocate(opened(path), rustix::fs::FallocateFlags::empty(), 0, 16).unwrap();
    });
}

fn a_copied_range(stand: Stand) {
    stand.lower_file("source", "new");
    while_held(&stand, "new content", |path| {
        let source = File::open(path.with_file_name("source")).unwrap();
        let copied =
            rustix::fs::copy_file_range(source, Some(&mut 0), opened(path), Some(&mut 0), 3).unwrap();
        assert_eq!(copied, 3);
    });
}

fn a_change_of_mode_then_a_write(stand: Stand) {
    while_held(&stand, "new content", |path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        opened(path).write_all(b"new").unwrap();
    });
}

fn a_reader_that_maps(stand: Stand) {
    let lower = stand.lower_file("file", OLD);
    let mount = stand.mount("");
    let reader = File::open(mount.path("file")).unwrap();
    let mapping = Mapping::new(&reader, OLD.len(), Protection::Read).unwrap();
    drop(reader);
    assert_eq!(mapping.read(0, 3), b"old");
    opened(&mount.path("file")).write_all(b"new").unwrap();
    assert_eq!(fs::read_to_string(lower).unwrap(), OLD);
    assert_eq!(mount.read("file"), "new content");
    assert_eq!(mapping.read(0, OLD.len()), b"new content");
}

/// One content for all who open the file after the first writer, while the first reader still holds the lower's.
fn several_readers_and_writers(stand: Stand) {
    let lower = stand.lower_file("file", OLD);
    let mount = stand.mount("");
    let first = File::open(mount.path("file")).unwrap();
    let writer = opened(&mount.path("file"));
    writer.write_all_at(b"one", 0).unwrap();
    let mut second = File::open(mount.path("file")).unwrap();
    let other_writer = opened(&mount.path("file"));
    other_writer.write_all_at(b"two", 4).unwrap();
    writer.write_all_at(b"3", 10).unwrap();
    assert_eq!(content(&mut second), "one twoten3");
    drop((first, writer, other_writer, second));
    assert_eq!(mount.read("file"), "one twoten3");
    assert_eq!(fs::read_to_string(lower).unwrap(), OLD);
}

/// S13.
fn an_opening_for_both_without_a_write(stand: Stand) {
    stand.lower_file("file", OLD);
    let mount = stand.mount("");
    drop(opened(&mount.path("file")));
    assert_eq!(stand.upper("file").exists(), stand.io == Io::Passthrough);
    assert_eq!(mount.read("file"), OLD);
}

/// S8.
fn a_lower_of_a_read_only_mount(mut stand: Stand) {
    use rustix::io::Errno;

    use crate::harness::fails_with;
    stand.lower_file("file", OLD);
    stand.upper = None;
    let mount = stand.mount("");
    let held = File::open(mount.path("file")).unwrap();
    assert!(fails_with(OpenOptions::new().write(true).open(mount.path("file")), Errno::ROFS));
    assert!(fails_with(truncate(&mount.path("file"), 0), Errno::ROFS));
    assert!(fails_with(fs::remove_file(mount.path("file")), Errno::ROFS));
    assert!(fails_with(fs::write(mount.path("new"), ""), Errno::ROFS));
    drop(held);
}

/// S32: what is done through a descriptor from before the copy-up is done to the copy.
fn attributes_through_an_old_reader(stand: Stand) {
    use std::os::unix::fs::PermissionsExt;
    stand.lower_file("file", OLD);
    let mount = stand.mount("");
    let mut reader = File::open(mount.path("file")).unwrap();
    fs::write(mount.path("file"), "new").unwrap();
    reader.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    reader.set_modified(std::time::UNIX_EPOCH).unwrap();
    rustix::fs::fsetxattr(&reader, "user.a", b"b", rustix::fs::XattrFlags::empty()).unwrap();
    let copy = fs::metadata(stand.upper("file")).unwrap();
    assert_eq!(copy.permissions().mode() & 0o7777, 0o600);
    assert_eq!(copy.modified().unwrap(), std::time::UNIX_EPOCH);
    assert_eq!(mount.read("file"), "new");
    assert_eq!(fs::read_to_string(stand.upper("file")).unwrap(), "new");
    assert_eq!(content(&mut reader), "new");
    drop(reader);
    OpenOptions::new().append(true).open(mount.path("file")).unwrap().write_all(b"er").unwrap();
    assert_eq!(mount.read("file"), "newer");
}

fn a_rename_then_a_write(stand: Stand) {
    while_held(&stand, "new content", |path| {
        let moved = path.with_file_name("moved");
        fs::rename(path, &moved).unwrap();
        opened(&moved).write_all(b"new").unwrap();
        fs::rename(&moved, path).unwrap();
    });
}

fn a_new_link_then_a_write(stand: Stand) {
    while_held(&stand, "new content", |path| {
        let link = path.with_file_name("link");
        fs::hard_link(path, &link).unwrap();
        opened(&link).write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "new content");
    });
}

fn an_attribute_then_an_append(stand: Stand) {
    while_held(&stand, "old content!", |path| {
        rustix::fs::setxattr(path, "user.a", b"b", rustix::fs::XattrFlags::empty()).unwrap();
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"!").unwrap();
        assert_eq!(rustix::fs::getxattr(path, "user.a", &mut [0; 8]), Ok(1));
    });
}

fn an_owner_then_a_truncation(stand: Stand) {
    while_held(&stand, "old", |path| {
        std::os::unix::fs::chown(path, Some(12), Some(34)).unwrap();
        truncate(path, 3).unwrap();
    });
}

/// Readers and writers come and go at the same time; nobody is to see an error.
fn openings_at_once(stand: Stand) {
    const FILES: usize = 40;
    for number in 0..FILES {
        stand.lower_file(&format!("file-{number}"), OLD);
    }
    let mount = stand.mount("");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mount = &mount;
            scope.spawn(move || {
                for number in 0..FILES {
                    let path = mount.path(format!("file-{number}"));
                    let reader = File::open(&path).unwrap_or_else(|e| panic!("reading: {e}"));
                    let writing = OpenOptions::new().write(true).open(&path);
                    let writer = writing.unwrap_or_else(|e| panic!("writing: {e}"));
                    writer.write_all_at(&[b'0' + thread], thread.into()).unwrap();
                    let mut seen = [0; OLD.len()];
                    reader.read_exact_at(&mut seen, 0).unwrap();
                    assert_eq!(&seen[4..], &OLD.as_bytes()[4..]);
                }
            });
        }
    });
    for number in 0..FILES {
        assert_eq!(mount.read(&format!("file-{number}")), "0123content", "file-{number}");
    }
}
