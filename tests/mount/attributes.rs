//! Times, extended attributes, and files that are neither regular nor directories (S17, S36).

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, lremovexattr, lsetxattr,
};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat};
use rustix::io::Errno;

use crate::harness::{Mount, OtherMount, Stand, both_ways, run, stdout, text};
use crate::snapshot::attributes;

both_ways! {
    old_times_with_nanoseconds, sizes_of_attributes, private_attributes_do_not_show, a_users_device_with_number_zero,
    other_kinds_of_files, attributes_are_set_and_removed, symbolic_links, times_move_with_changes, long_names,
    the_size_of_the_file_system, layers_without_attributes,
}

/// Modification and access time.
fn times(path: &Path) -> [(i64, i64); 2] {
    let m = fs::symlink_metadata(path).unwrap();
    [(m.mtime(), m.mtime_nsec()), (m.atime(), m.atime_nsec())]
}

fn set_times(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let both = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &both, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn old_times_with_nanoseconds(stand: Stand) {
    const CASES: [(i64, i64); 6] = [
        (-1, 999_999_999),
        (-1, 0),
        (-2, 500_000_001),
        (-86_400_000, 123_456_789),
        (0, 0),
        (2_147_483_648, 7),
    ];
    for (number, (seconds, nanoseconds)) in CASES.iter().enumerate() {
        set_times(&stand.lower_file(&format!("lower-{number}"), "x"), *seconds, *nanoseconds);
    }
    let mount = stand.mount("");
    for (number, time) in CASES.into_iter().enumerate() {
        let lower = mount.path(format!("lower-{number}"));
        // The guard has read the files, which moves their access times.
        assert_eq!(times(&lower)[0], time);
        stdout(mount.sh(&format!("chmod 600 lower-{number}")));
        assert_eq!(times(&lower)[0], time, "after a copy-up");
        let upper = mount.path(format!("upper-{number}"));
        fs::create_dir(&upper).unwrap();
        set_times(&upper, time.0, time.1);
        assert_eq!(times(&upper), [time; 2]);
        assert_eq!(times(&stand.upper(format!("upper-{number}"))), [time; 2], "on disk");
    }
    drop(mount);
    let again = stand.mount("");
    for (number, time) in CASES.into_iter().enumerate() {
        assert_eq!(times(&again.path(format!("lower-{number}")))[0], time);
        assert_eq!(times(&again.path(format!("upper-{number}"))), [time; 2]);
    }
}

fn sizes_of_attributes(stand: Stand) {
    let lower = stand.lower_file("file", "x");
    run("setfattr", &["-n", "user.long", "-v", &"v".repeat(1000), text(&lower)]);
    run("setfattr", &["-n", "user.empty", text(&lower)]);
    let mount = stand.mount("");
    let path = mount.path("file");
    for _ in 0..2 {
        assert_eq!(lgetxattr_query(&path, "user.long"), Ok(1000));
        assert_eq!(lgetxattr(&path, "user.long", &mut [0_u8; 999][..]), Err(Errno::RANGE));
        assert_eq!(lgetxattr(&path, "user.long", &mut [0_u8; 1000][..]), Ok(1000));
        assert_eq!(lgetxattr(&path, "user.empty", &mut [0_u8; 10][..]), Ok(0));
        assert_eq!(lgetxattr(&path, "user.none", &mut [0_u8; 10][..]), Err(Errno::NODATA));
        let length = "user.long\0user.empty\0".len();
        assert_eq!(llistxattr_query(&path), Ok(length));
        assert_eq!(llistxattr(&path, &mut vec![0_u8; length - 1][..]), Err(Errno::RANGE));
        assert_eq!(llistxattr(&path, &mut vec![0_u8; length][..]), Ok(length));
        // Once more with the file in the upper.
        stdout(mount.sh("touch file"));
    }
}

/// S36.
fn private_attributes_do_not_show(mut stand: Stand) {
    const NAMES: [&str; 6] = [
        "trusted.overlay.opaque",
        "trusted.overlay.anything",
        "user.overlay.opaque",
        "user.overlay.origin",
        "user.fuseoverlayfs.opaque",
        "user.containers.override_stat",
    ];
    stand.add_lower("below");
    let lower = stand.lower_dir("dir");
    run("setfattr", &["-n", "trusted.overlay.opaque", "-v", "y", text(&lower)]);
    run("setfattr", &["-n", "user.shown", "-v", "y", text(&lower)]);
    let mount = stand.mount("");
    fs::write(mount.path("dir/copied-up-now"), "").unwrap();
    let shown = attributes(&mount.path("dir"));
    assert_eq!(shown, [("user.shown".to_owned(), b"y".to_vec())]);
    for name in NAMES {
        let path = mount.path("dir");
        assert_eq!(lsetxattr(&path, name, b"y", XattrFlags::empty()), Err(Errno::PERM), "{name}");
        assert_eq!(lgetxattr(&path, name, &mut [0_u8; 9][..]), Err(Errno::NODATA), "{name}");
        let removed = lremovexattr(&path, name);
        assert!(matches!(removed, Err(Errno::PERM | Errno::NODATA)), "{name}: {removed:?}");
    }
}

/// S17.
fn a_users_device_with_number_zero(stand: Stand) {
    stand.lower_file("hidden", "x");
    let mount = stand.mount("");
    let make = |name: &str| mknodat(CWD, mount.path(name), FileType::CharacterDevice, Mode::from(0o600), 0);
    make("zero").unwrap();
    fs::remove_file(mount.path("hidden")).unwrap();
    make("hidden").unwrap();
    let check = |mount: &Mount<'_>, names: [&str; 2]| {
        assert_eq!(mount.names(""), names);
        for name in names {
            let shown = fs::symlink_metadata(mount.path(name)).unwrap();
            assert!(shown.file_type().is_char_device(), "{name}");
            assert_eq!((shown.rdev(), shown.mode() & 0o7777), (0, 0o600), "{name}");
        }
    };
    check(&mount, ["hidden", "zero"]);
    drop(mount);
    let again = stand.mount("");
    check(&again, ["hidden", "zero"]);
    fs::rename(again.path("zero"), again.path("null")).unwrap();
    check(&again, ["hidden", "null"]);
    fs::remove_file(again.path("hidden")).unwrap();
    assert_eq!(again.names(""), ["null"]);
    assert!(stand.has_whiteout("hidden"));
}

fn other_kinds_of_files(stand: Stand) {
    let null = makedev(1, 3);
    mknodat(CWD, stand.lower("null"), FileType::CharacterDevice, Mode::from(0o666), null).unwrap();
    run("mkfifo", &[text(&stand.lower("pipe"))]);
    let mount = stand.mount("");
    mknodat(CWD, mount.path("block"), FileType::BlockDevice, Mode::from(0o600), makedev(7, 200)).unwrap();
    mknodat(CWD, mount.path("regular"), FileType::RegularFile, Mode::from(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(mount.path("socket")).unwrap();
    std::os::unix::net::UnixStream::connect(mount.path("socket")).unwrap();
    assert_eq!(
        stdout(mount.sh("chmod 600 null pipe; echo x >null; cat null; (echo through >pipe &); cat pipe")),
        "through\n"
    );
    let kind = |name: &str| fs::symlink_metadata(mount.path(name)).unwrap();
    assert!(kind("null").file_type().is_char_device() && kind("null").rdev() == null);
    assert!(kind("block").file_type().is_block_device() && kind("block").rdev() == makedev(7, 200));
    assert!(
        kind("pipe").file_type().is_fifo()
            && kind("socket").file_type().is_socket()
            && kind("regular").is_file()
    );
}

fn attributes_are_set_and_removed(stand: Stand) {
    let lower = stand.lower_file("file", "x");
    run("setfattr", &["-n", "user.a", "-v", "1", text(&lower)]);
    let mount = stand.mount("");
    let path = mount.path("file");
    lsetxattr(&path, "user.b", b"2", XattrFlags::CREATE).unwrap();
    assert_eq!(lsetxattr(&path, "user.b", b"2", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(lsetxattr(&path, "user.c", b"2", XattrFlags::REPLACE), Err(Errno::NODATA));
    lsetxattr(&path, "trusted.mine", b"3", XattrFlags::empty()).unwrap();
    lremovexattr(&path, "user.a").unwrap();
    assert_eq!(lremovexattr(&path, "user.a"), Err(Errno::NODATA));
    let pair = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let expected = [pair("trusted.mine", b"3"), pair("user.b", b"2")];
    assert_eq!(attributes(&path), expected);
    drop(mount);
    assert_eq!(attributes(&stand.mount("").path("file")), expected);
}

fn symbolic_links(stand: Stand) {
    let long = "x/".repeat(2000);
    std::os::unix::fs::symlink("file", stand.lower("link")).unwrap();
    std::os::unix::fs::symlink(&long, stand.lower("long")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", stand.lower("outside")).unwrap();
    stand.lower_file("file", "x");
    let mount = stand.mount("");
    assert_eq!(mount.read("link"), "x");
    assert_eq!(fs::read_link(mount.path("long")).unwrap().as_os_str().len(), long.len());
    assert_eq!(fs::symlink_metadata(mount.path("long")).unwrap().len(), long.len() as u64);
    std::os::unix::fs::lchown(mount.path("outside"), Some(12), Some(34)).unwrap();
    assert_eq!(fs::read_link(mount.path("outside")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0);
    assert_eq!(fs::symlink_metadata(stand.upper("outside")).unwrap().uid(), 12);
    // Replaced, it must not be remembered.
    fs::remove_file(mount.path("link")).unwrap();
    std::os::unix::fs::symlink("other", mount.path("link")).unwrap();
    assert_eq!(fs::read_link(mount.path("link")).unwrap(), Path::new("other"));
}

fn times_move_with_changes(stand: Stand) {
    stand.lower_file("dir/file", "x");
    set_times(&stand.lower("dir/file"), 1000, 0);
    set_times(&stand.lower("dir"), 1000, 0);
    let mount = stand.mount("");
    let mtime = |name: &str| times(&mount.path(name))[0].0;
    stdout(mount.sh("chmod 600 dir/file"));
    assert_eq!((mtime("dir"), mtime("dir/file")), (1000, 1000));
    stdout(mount.sh("echo >>dir/file"));
    assert_eq!(mtime("dir"), 1000);
    assert!(mtime("dir/file") > 1000);
    stdout(mount.sh("echo >dir/new"));
    assert!(mtime("dir") > 1000);
    for script in [
        "rm dir/new",
        "mkdir dir/sub",
        "mv dir/sub dir/sub2",
        "ln dir/file dir/link",
        "rm dir/link",
        "rmdir dir/sub2",
    ] {
        set_times(&mount.path("dir"), 1000, 0);
        stdout(mount.sh(script));
        assert!(mtime("dir") > 1000, "after {script}");
    }
}

fn long_names(stand: Stand) {
    let longest = "n".repeat(255);
    stand.lower_file(&longest, "x");
    let mount = stand.mount("");
    assert_eq!(mount.read(&longest), "x");
    let too_long = fs::write(mount.path("n".repeat(256)), "");
    assert!(crate::harness::fails_with(too_long, Errno::NAMETOOLONG));
    stdout(mount.sh(&format!("echo >>{longest}; mv {longest} short; rm short")));
    assert_eq!(mount.names(""), [""; 0]);
    let odd = std::ffi::OsStr::new("new\nline \u{1F600} -x");
    fs::write(mount.path(odd), "odd").unwrap();
    assert_eq!(fs::read_to_string(stand.upper(odd)).unwrap(), "odd");
}

fn the_size_of_the_file_system(stand: Stand) {
    let mount = stand.mount("");
    let (ours, uppers) =
        (rustix::fs::statvfs(mount.path("")).unwrap(), rustix::fs::statvfs(stand.upper("")).unwrap());
    assert_eq!((ours.f_blocks, ours.f_bsize, ours.f_namemax), (uppers.f_blocks, uppers.f_bsize, 255));
}

/// ramfs has neither extended attributes nor ACLs.
fn layers_without_attributes(mut stand: Stand) {
    let plain = stand.path("plain");
    let Some(_ramfs) = OtherMount::new(&["-t", "ramfs", "none"], &plain) else { return };
    for name in ["lower/dir/sub", "upper", "work"] {
        fs::create_dir_all(plain.join(name)).unwrap();
    }
    for name in ["lower/file", "lower/gone", "lower/dir/sub/deep"] {
        fs::write(plain.join(name), "x").unwrap();
    }
    stand.lowers = vec![plain.join("lower")];
    let script = "cat file; echo y >>file; chmod 640 file; rm gone; rm -r dir; mkdir dir; echo new >dir/new; ls dir; ls -l";
    // Below an ordinary upper, and below one that has none either.
    stdout(stand.mount("").sh(script));
    stand.upper = Some((plain.join("upper"), plain.join("work")));
    stdout(stand.mount("").sh(script));
    let again = stand.mount("");
    assert_eq!(
        (again.names(""), again.names("dir")),
        (vec!["dir".to_owned(), "file".to_owned()], vec!["new".to_owned()])
    );
    assert_eq!(again.read("file"), "xy\n");
}
