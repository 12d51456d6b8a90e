//! What can be done through an open file: unlinked or not, in every way of reading, writing and locking (S29, S31).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags, SeekFrom, fallocate, flock, seek};
use rustix::io::Errno;

use crate::calls::{Mapping, Protection, lock_record, truncate};
use crate::harness::{Io, Stand, both_ways, fails_with, stdout};

both_ways! {
    an_unlinked_file_lives_on, an_unlinked_lower_file_lives_on, an_unlinked_lower_file_held_for_reading,
    an_unlinked_file_is_mapped, holes_are_found, space_is_allocated_and_given_back, ranges_are_copied,
    direct_reads_and_writes, locks, programs_run, a_running_program_is_replaced, appends_from_two_openings,
    a_file_that_was_read_is_changed, no_temporary_files_without_a_name, an_upper_without_unnamed_files, syncing, large_reads_and_writes, exclusive_creation,
}

fn opened(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Everything that apt and others do to a file that has no name any more.
fn use_unlinked(mut file: File, expected: &str) {
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, expected);
    file.write_all(b"+more").unwrap();
    assert_eq!(file.metadata().unwrap().len(), expected.len() as u64 + 5);
    file.set_len(3).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3);
    file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::fchown(&file, Some(12), Some(34)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(77);
    file.set_modified(time).unwrap();
    let shown = file.metadata().unwrap();
    assert_eq!((shown.mode() & 0o7777, shown.uid(), shown.gid(), shown.mtime()), (0o640, 12, 34, 77));
    rustix::fs::fsetxattr(&file, "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let mut value = [0; 8];
    assert_eq!(rustix::fs::fgetxattr(&file, "user.x", &mut value), Ok(1));
    file.sync_all().unwrap();
    file.rewind().unwrap();
    content.clear();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, expected[..3]);
}

fn an_unlinked_file_lives_on(stand: Stand) {
    let mount = stand.mount("");
    fs::write(mount.path("file"), "content").unwrap();
    let file = opened(&mount.path("file"));
    fs::remove_file(mount.path("file")).unwrap();
    use_unlinked(file, "content");
    // Made and unlinked at once, as temporary files are.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
    let file = rustix::fs::open(mount.path("temporary"), flags, Mode::RUSR | Mode::WUSR).unwrap();
    fs::remove_file(mount.path("temporary")).unwrap();
    let mut file = File::from(file);
    file.write_all(b"content").unwrap();
    file.rewind().unwrap();
    use_unlinked(file, "content");
    assert_eq!(mount.names(""), [""; 0]);
    assert_eq!(stand.upper_names(""), [""; 0]);
}

fn an_unlinked_lower_file_lives_on(stand: Stand) {
    stand.lower_file("file", "content");
    let mount = stand.mount("");
    let file = opened(&mount.path("file"));
    fs::remove_file(mount.path("file")).unwrap();
    use_unlinked(file, "content");
    assert!(stand.has_whiteout("file"));
    assert_eq!(mount.names(""), [""; 0]);
}

fn an_unlinked_lower_file_held_for_reading(stand: Stand) {
    stand.lower_file("file", "content");
    let mount = stand.mount("");
    let mut file = File::open(mount.path("file")).unwrap();
    fs::remove_file(mount.path("file")).unwrap();
    fs::write(mount.path("file"), "another").unwrap();
    let shown = file.metadata().unwrap();
    assert_eq!((shown.nlink(), shown.len()), (0, 7));
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    let mapping = Mapping::new(&file, 7, Protection::Read).unwrap();
    assert_eq!(mapping.read(0, 7), b"content");
    assert_eq!(mount.read("file"), "another");
}

/// A file of the lower that was open before, and may be kept open, is another one after each change.
fn a_file_that_was_read_is_changed(stand: Stand) {
    for number in 0..100 {
        stand.lower_file(&format!("file-{number}"), "content");
    }
    let mount = stand.mount("");
    for number in 0..100 {
        let (path, name) = (mount.path(format!("file-{number}")), format!("file-{number}"));
        for _ in 0..3 {
            assert_eq!(mount.read(&name), "content");
        }
        match number % 5 {
            0 => OpenOptions::new().append(true).open(&path).unwrap().write_all(b"+more").unwrap(),
            1 => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
                assert_eq!(mount.read(&name), "content");
                OpenOptions::new().append(true).open(&path).unwrap().write_all(b"+more").unwrap();
            }
            2 => truncate(&path, 3).unwrap(),
            3 => {
                fs::remove_file(&path).unwrap();
                fs::write(&path, "another").unwrap();
            }
            _ => {
                fs::write(mount.path("new"), "another").unwrap();
                fs::rename(mount.path("new"), &path).unwrap();
            }
        }
        let expected = ["content+more", "content+more", "con", "another", "another"][number % 5];
        for _ in 0..2 {
            assert_eq!(mount.read(&name), expected, "{number}");
        }
        assert_eq!(stand.lower(&name).metadata().unwrap().len(), 7);
    }
}

fn an_unlinked_file_is_mapped(stand: Stand) {
    stand.lower_file("file", "content");
    let mount = stand.mount("");
    let file = opened(&mount.path("file"));
    let mapping = Mapping::new(&file, 7, Protection::Write).unwrap();
    fs::remove_file(mount.path("file")).unwrap();
    mapping.write(0, b"CON");
    mapping.sync();
    let mut seen = [0; 7];
    file.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"CONtent");
    drop(file);
    mapping.write(3, b"TENT");
    assert_eq!(mapping.read(0, 7), b"CONTENT");
}

fn holes_are_found(stand: Stand) {
    const HOLE: u64 = 1 << 20;
    let lower = stand.lower_file("file", "");
    File::options().write(true).open(lower).unwrap().write_all_at(b"data", HOLE).unwrap();
    let mount = stand.mount("");
    let check = |file: &File| {
        assert_eq!(seek(file, SeekFrom::Data(0)), Ok(HOLE));
        assert_eq!(seek(file, SeekFrom::Hole(0)), Ok(0));
        assert_eq!(seek(file, SeekFrom::Hole(HOLE)), Ok(HOLE + 4));
        assert_eq!(seek(file, SeekFrom::Data(HOLE + 4)), Err(Errno::NXIO));
        assert_eq!(seek(file, SeekFrom::End(-1)), Ok(HOLE + 3));
    };
    check(&File::open(mount.path("file")).unwrap());
    let file = opened(&mount.path("file"));
    file.write_all_at(b"DATA", HOLE).unwrap();
    check(&file);
}

fn space_is_allocated_and_given_back(stand: Stand) {
    stand.lower_file("file", vec![b'x'; 1 << 20]);
    let mount = stand.mount("");
    let file = opened(&mount.path("file"));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 4096, 8192).unwrap();
    let content = fs::read(mount.path("file")).unwrap();
    assert_eq!(content.len(), 1 << 20);
    let zeros: Vec<_> =
        content.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at).collect();
    assert_eq!((zeros.len(), zeros[0]), (8192, 4096));
    fallocate(&file, FallocateFlags::empty(), 1 << 20, 4096).unwrap();
    assert_eq!(file.metadata().unwrap().len(), (1 << 20) + 4096);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 2 << 20, 1 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), (1 << 20) + 4096);
    fallocate(&file, FallocateFlags::ZERO_RANGE, 0, 4096).unwrap();
    assert_eq!(fs::read(mount.path("file")).unwrap()[..4096], [0; 4096]);
}

fn ranges_are_copied(stand: Stand) {
    stand.lower_file("from", "0123456789");
    let mount = stand.mount("");
    let from = File::open(mount.path("from")).unwrap();
    let to = OpenOptions::new().read(true).write(true).create_new(true).open(mount.path("to")).unwrap();
    let copied = rustix::fs::copy_file_range(&from, Some(&mut 2), &to, Some(&mut 1), 5).unwrap();
    assert_eq!((copied, mount.read("to").as_str()), (5, "\x0023456"));
    assert_eq!(to.metadata().unwrap().len(), 6);
    // Within one file, and past the end.
    let same = opened(&mount.path("from"));
    assert_eq!(rustix::fs::copy_file_range(&same, Some(&mut 0), &same, Some(&mut 10), 3), Ok(3));
    assert_eq!(mount.read("from"), "0123456789012");
    assert_eq!(rustix::fs::copy_file_range(&same, Some(&mut 99), &to, Some(&mut 0), 3), Ok(0));
    // cp(1) uses it, and std does.
    stdout(mount.sh("cp --sparse=never from copied"));
    assert_eq!(mount.read("copied"), "0123456789012");
    fs::copy(mount.path("from"), mount.path("copied-too")).unwrap();
    assert_eq!(mount.read("copied-too"), "0123456789012");
}

fn direct_reads_and_writes(stand: Stand) {
    stand.lower_file("file", vec![b'x'; 1 << 20]);
    let mount = stand.mount("");
    let path = mount.path("file");
    let script = format!(
        "dd if={0} iflag=direct bs=64k status=none | cmp - {1}
        dd if=/dev/zero of={0} oflag=direct conv=notrunc bs=64k count=2 seek=1 status=none",
        path.display(),
        stand.lower("file").display()
    );
    stdout(mount.sh(&script));
    let content = fs::read(&path).unwrap();
    assert_eq!(content.len(), 1 << 20);
    assert!(content[65536..3 * 65536].iter().all(|byte| *byte == 0));
    assert!(content[..65536].iter().chain(&content[3 * 65536..]).all(|byte| *byte == b'x'));
    // Made with O_DIRECT, and read through the cache at once.
    stdout(
        mount.sh("dd if=/dev/zero of=new oflag=direct bs=4k count=3 status=none; test $(wc -c <new) = 12288"),
    );
}

fn locks(stand: Stand) {
    stand.lower_file("file", "x");
    let mount = stand.mount("");
    let (one, other) = (opened(&mount.path("file")), opened(&mount.path("file")));
    flock(&one, FlockOperation::LockExclusive).unwrap();
    assert_eq!(flock(&other, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    let elsewhere = || Command::new("flock").arg("-n").arg(mount.path("file")).arg("true").status().unwrap();
    assert!(!elsewhere().success(), "another process gets the lock");
    flock(&one, FlockOperation::Unlock).unwrap();
    assert!(elsewhere().success());
    lock_record(&one).unwrap();
    assert!(fails_with(lock_record(&other), Errno::AGAIN));
    drop(one);
    lock_record(&other).unwrap();
}

fn programs_run(stand: Stand) {
    fs::copy("/bin/echo", stand.lower("echo")).unwrap();
    stand.lower_file("script", "#!/bin/sh\necho script\n");
    fs::set_permissions(stand.lower("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let mount = stand.mount("");
    assert_eq!(
        stdout(mount.sh("./echo lower; ./script; cp echo copy; ./copy upper")),
        "lower\nscript\nupper\n"
    );
    stdout(mount.sh("chmod 700 echo; ./echo"));
    let refused = mount.sh("chmod a-x echo; ./echo");
    assert_eq!(refused.status.code(), Some(126), "{refused:?}");
}

/// As a package manager does: a new file renamed over the running one.
fn a_running_program_is_replaced(stand: Stand) {
    fs::copy("/bin/sleep", stand.lower("program")).unwrap();
    fs::copy("/bin/echo", stand.lower("new")).unwrap();
    let mount = stand.mount("");
    let mut running = Command::new(mount.path("program")).arg("1").spawn().unwrap();
    stdout(mount.sh("cp new newer; mv newer program"));
    assert_eq!(stdout(mount.sh("./program replaced")), "replaced\n");
    // Writing into a running program is refused as everywhere, or makes a copy.
    stdout(mount.sh("rm program; cp new program"));
    assert!(running.wait().unwrap().success(), "the old program runs to its end");
}

fn appends_from_two_openings(stand: Stand) {
    stand.lower_file("file", "0");
    let mount = stand.mount("");
    let append = || OpenOptions::new().append(true).open(mount.path("file")).unwrap();
    let (mut one, mut other) = (append(), append());
    for (file, text) in [(&mut one, "1"), (&mut other, "22")] {
        file.write_all(text.as_bytes()).unwrap();
    }
    one.write_all(b"3").unwrap();
    stdout(mount.sh("printf 4 >>file"));
    other.write_all(b"5").unwrap();
    assert_eq!(mount.read("file"), "0122345");
}

/// S24.
fn no_temporary_files_without_a_name(stand: Stand) {
    let mount = stand.mount("");
    let made = rustix::fs::open(mount.path(""), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert_eq!(made.err(), Some(Errno::OPNOTSUPP));
}

/// S23.
fn syncing(stand: Stand) {
    stand.lower_file("dir/file", "x");
    for options in ["", "volatile"] {
        let mount = stand.mount(options);
        let mut file = OpenOptions::new().append(true).open(mount.path("dir/file")).unwrap();
        file.write_all(b"y").unwrap();
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        File::open(mount.path("dir")).unwrap().sync_all().unwrap();
        File::open(mount.path("dir/file")).unwrap().sync_all().unwrap();
        rustix::fs::syncfs(&file).unwrap();
    }
}

/// S11, S29: an upper on a file system without O_TMPFILE, such as this one (S24).
fn an_upper_without_unnamed_files(stand: Stand) {
    let outer = stand.mount("");
    fs::create_dir(outer.path("upper")).unwrap();
    fs::create_dir(outer.path("work")).unwrap();
    let Some(mut inner) = Stand::new(Io::Cached) else { return };
    for name in ["file", "held", "one"] {
        inner.lower_file(name, "old");
    }
    fs::hard_link(inner.lowers[0].join("one"), inner.lowers[0].join("two")).unwrap();
    inner.upper = Some((outer.path("upper"), outer.path("work")));
    let mount = inner.mount("");
    let mut held = opened(&mount.path("held"));
    fs::remove_file(mount.path("held")).unwrap();
    held.write_all(b"new").unwrap();
    let mut read = [0; 3];
    held.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"new", "unlinked before it was copied up");
    for name in ["file", "one"] {
        fs::write(mount.path(name), "new").unwrap();
        let copy = outer.path("upper").join(name);
        assert_eq!(fs::read(copy).unwrap(), b"new");
    }
    assert_eq!(
        fs::read_dir(outer.path("work/work")).unwrap().count(),
        1,
        "the whiteout that others are links of"
    );
}

fn large_reads_and_writes(stand: Stand) {
    let content: Vec<u8> = (0_u32..3 << 20).flat_map(u32::to_ne_bytes).collect();
    stand.lower_file("file", &content);
    let mount = stand.mount("");
    assert!(fs::read(mount.path("file")).unwrap() == content);
    fs::write(mount.path("new"), &content).unwrap();
    let file = opened(&mount.path("new"));
    // Odd sizes at odd places.
    let mut part = vec![0; 2_345_678];
    file.read_exact_at(&mut part, 1_234_567).unwrap();
    assert!(part == content[1_234_567..][..2_345_678]);
    file.write_all_at(&part, 3).unwrap();
    let mut expected = content.clone();
    expected[3..][..part.len()].copy_from_slice(&part);
    assert!(fs::read(mount.path("new")).unwrap() == expected);
    assert!(fs::read(stand.upper("new")).unwrap() == expected);
}

fn exclusive_creation(stand: Stand) {
    stand.lower_file("there", "x");
    let mount = stand.mount("");
    let create =
        |name: &str| OpenOptions::new().write(true).create_new(true).mode(0o400).open(mount.path(name));
    assert!(fails_with(create("there"), Errno::EXIST));
    // A file that its owner may not write can be written by the one who makes it.
    create("new").unwrap().write_all(b"x").unwrap();
    assert!(fails_with(create("new"), Errno::EXIST));
    fs::remove_file(mount.path("there")).unwrap();
    create("there").unwrap();
    let mut created =
        OpenOptions::new().read(true).append(true).create(true).open(mount.path("there")).unwrap();
    created.seek(std::io::SeekFrom::Start(0)).unwrap();
    assert_eq!(created.read(&mut [0; 4]).unwrap(), 0);
}
