//! Copy-up (S11, S12, S20, S31, S47): content kept whatever is mapped, other files served meanwhile, nothing half done.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::calls::{Mapping, Protection};
use crate::harness::{OtherMount, Stand, both_ways, fails_with, names, run, skipped, stdout, text};
use crate::snapshot::attributes;

both_ways! {
    mapped_data_survives_a_copy_up, mapped_writes_are_kept, a_database_is_kept, a_big_file_does_not_stop_the_mount,
    a_copy_keeps_everything, times_of_the_parent_stay, a_full_upper_leaves_the_old_file, writers_at_once_lose_nothing,
    readers_meanwhile_see_old_or_new, empty_files, metacopy_copies_data_with_the_first_write,
}

const PAGE: usize = 4096;

fn opened(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Pages of different letters.
fn pages(count: u8) -> Vec<u8> {
    (0..count).flat_map(|page| [b'a' + page; PAGE]).collect()
}

fn mapped_data_survives_a_copy_up(stand: Stand) {
    stand.lower_file("file", pages(8));
    let mount = stand.mount("");
    let reader = File::open(mount.path("file")).unwrap();
    let mapping = Mapping::new(&reader, 8 * PAGE, Protection::Read).unwrap();
    // Some pages are touched before the copy-up, others after it only.
    assert_eq!(mapping.read(PAGE, 2), b"bb");
    let writer = opened(&mount.path("file"));
    writer.write_all_at(b"XYZ", 3 * PAGE as u64).unwrap();

    let mut expected = pages(8);
    expected[3 * PAGE..3 * PAGE + 3].copy_from_slice(b"XYZ");
    assert!(fs::read(mount.path("file")).unwrap() == expected, "zero-filled or lost");
    assert!(mapping.read(0, 8 * PAGE) == expected);
    drop((mapping, reader, writer, mount));
    assert!(fs::read(stand.upper("file")).unwrap() == expected);
}

fn mapped_writes_are_kept(stand: Stand) {
    stand.lower_file("file", pages(4));
    let mount = stand.mount("");
    let file = opened(&mount.path("file"));
    let mapping = Mapping::new(&file, 4 * PAGE, Protection::Write).unwrap();
    drop(file);
    mapping.write(2 * PAGE, b"mapped");
    // Another opening sees it without a sync, and so does the mapping what others write.
    let other = opened(&mount.path("file"));
    let mut seen = [0; 6];
    other.read_exact_at(&mut seen, 2 * PAGE as u64).unwrap();
    assert_eq!(&seen, b"mapped");
    other.write_all_at(b"written", 0).unwrap();
    assert_eq!(mapping.read(0, 7), b"written");
    drop((mapping, other, mount));

    let again = stand.mount("");
    let mut expected = pages(4);
    expected[..7].copy_from_slice(b"written");
    expected[2 * PAGE..2 * PAGE + 6].copy_from_slice(b"mapped");
    assert!(fs::read(again.path("file")).unwrap() == expected);
}

/// SQLite in WAL mode maps, locks, truncates and appends.
fn a_database_is_kept(stand: Stand) {
    let python =
        |code: &str, path: &Path| Command::new("python3").args(["-c", code]).arg(path).output().unwrap();
    let create = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('pragma journal_mode=wal')
db.execute('create table t (n integer, s text)')
db.executemany('insert into t values (?, ?)', ((i, 'x' * 100) for i in range(2000)))
db.commit()
db.close()";
    let update = "import sqlite3, sys
reader = sqlite3.connect(sys.argv[1])
assert reader.execute('select sum(n) from t').fetchone()[0] == 1999000
db = sqlite3.connect(sys.argv[1])
db.execute('pragma mmap_size=10000000')
for i in range(5):
    db.execute('update t set n = n + 1')
    db.commit()
db.execute('pragma wal_checkpoint(truncate)')
assert db.execute('pragma integrity_check').fetchone()[0] == 'ok'
print(reader.execute('select sum(n) from t').fetchone()[0])";
    let made = Command::new("python3").args(["-c", "import sqlite3"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return skipped("no python3 with sqlite3");
    }
    stdout(python(create, &stand.lower("db")));
    let mount = stand.mount("");
    assert_eq!(stdout(python(update, &mount.path("db"))), "2009000\n");
    drop(mount);
    let again = stand.mount("");
    let check = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select sum(n) from t').fetchone()[0])";
    assert_eq!(stdout(python(check, &again.path("db"))), "2009000\n");
}

/// S47: while 300 MB are copied, others make, look up and read files.
fn a_big_file_does_not_stop_the_mount(stand: Stand) {
    run(
        "dd",
        &["if=/dev/zero", &format!("of={}", text(&stand.lower("big"))), "bs=1M", "count=300", "status=none"],
    );
    stand.lower_file("small", "small");
    let mount = stand.mount("");
    let copied = AtomicBool::new(false);
    let (served, slowest) = thread::scope(|scope| {
        let others = scope.spawn(|| {
            let (mut served, mut slowest) = (0, Duration::ZERO);
            while !copied.load(Ordering::Relaxed) {
                let start = Instant::now();
                // Names that the kernel cannot know yet, so that the daemon is asked.
                assert!(!mount.path(format!("missing-{served}")).exists());
                fs::write(mount.path(format!("made-{served}")), "x").unwrap();
                assert_eq!(mount.read("small"), "small");
                slowest = slowest.max(start.elapsed());
                served += 1;
            }
            (served, slowest)
        });
        let start = Instant::now();
        opened(&mount.path("big")).write_all(b"begin").unwrap();
        let took = start.elapsed();
        copied.store(true, Ordering::Relaxed);
        let (served, slowest) = others.join().unwrap();
        eprintln!("copied in {took:?}; {served} rounds meanwhile, the slowest {slowest:?}");
        (served, slowest.as_secs_f64() / took.as_secs_f64())
    });
    assert!(served >= 5, "{served} rounds during the copy-up");
    assert!(slowest < 0.7, "one round took {slowest} of the copy-up");
    assert_eq!(fs::metadata(mount.path("big")).unwrap().len(), 300 << 20);
}

fn a_copy_keeps_everything(stand: Stand) {
    let lower = stand.lower_file("file", "head");
    let file = opened(&lower);
    file.write_all_at(b"tail", 10 << 20).unwrap();
    run("setfattr", &["-n", "user.colour", "-v", "green", text(&lower)]);
    run("setfacl", &["-m", "u:12:rw", text(&lower)]);
    std::os::unix::fs::chown(&lower, Some(12), Some(34)).unwrap();
    fs::set_permissions(&lower, fs::Permissions::from_mode(0o4711)).unwrap();
    run("touch", &["-d", "1969-12-31 23:59:58.75 UTC", text(&lower)]);
    let before = fs::metadata(&lower).unwrap();
    let mount = stand.mount("");
    // A change of the access time alone copies the file.
    run("touch", &["-a", "-d", "2001-01-01 UTC", text(&mount.path("file"))]);

    let (shown, copy) =
        (fs::metadata(mount.path("file")).unwrap(), fs::metadata(stand.upper("file")).unwrap());
    for after in [&shown, &copy] {
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), 12, 34));
        assert_eq!((after.mtime(), after.mtime_nsec()), (-2, 750_000_000));
        assert_eq!(after.atime(), 978_307_200);
        assert!(after.blocks() * 512 < 1 << 20, "holes stay holes: {} blocks", after.blocks());
    }
    assert_eq!(attributes(&mount.path("file")), attributes(&lower));
    assert!(fs::read(mount.path("file")).unwrap() == fs::read(&lower).unwrap());
    // The lower's reading above changed no more than its access time; the guard checks the rest.
}

fn times_of_the_parent_stay(stand: Stand) {
    stand.lower_file("dir/sub/file", "x");
    run("touch", &["-d", "1999-09-09 09:09:09.123456789 UTC", text(&stand.lower("dir/sub"))]);
    let mount = stand.mount("");
    let times = |name: &str| fs::metadata(mount.path(name)).map(|m| (m.mtime(), m.mtime_nsec())).unwrap();
    let before = (times("dir"), times("dir/sub"));
    fs::set_permissions(mount.path("dir/sub/file"), fs::Permissions::from_mode(0o600)).unwrap();
    opened(&mount.path("dir/sub/file")).write_all(b"y").unwrap();
    assert!(stand.upper("dir/sub/file").exists());
    assert_eq!((times("dir"), times("dir/sub")), before);
    assert_eq!(before.1, (936_868_149, 123_456_789));
}

/// S11: the upper on a file system of 8 MB, the file of 16 MB.
fn a_full_upper_leaves_the_old_file(mut stand: Stand) {
    let image = stand.path("image");
    File::create(&image).unwrap().set_len(8 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-m", "0", text(&image)]);
    let small = stand.path("small");
    let disk = OtherMount::new(&["-o", "loop", text(&image)], &small);
    let Some(_disk) =
        disk.or_else(|| OtherMount::new(&["-t", "tmpfs", "-o", "size=8m", "none"], &stand.path("memory")))
    else {
        return;
    };
    let place = if small.join("lost+found").exists() { small } else { stand.path("memory") };
    let (upper, work) = (place.join("upper"), place.join("work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let content: Vec<u8> = (0_u32..4 << 20).flat_map(u32::to_ne_bytes).collect();
    stand.lower_file("dir/big", &content);
    stand.lower_file("dir/small", "fits");
    stand.upper = Some((upper.clone(), work.clone()));

    let mount = stand.mount("");
    let path = mount.path("dir/big");
    for round in 0..2 {
        let written = OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(b"x"));
        assert!(fails_with(written, Errno::NOSPC), "round {round}");
        assert!(fails_with(fs::set_permissions(&path, fs::Permissions::from_mode(0o600)), Errno::NOSPC));
    }
    assert!(fs::read(&path).unwrap() == content, "the lower's content stays visible");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    assert_eq!(mount.names("dir"), ["big", "small"]);
    assert!(!upper.join("dir/big").exists());
    assert_eq!(names(&work.join("work")), [""; 0]);
    // The space is free again.
    opened(&mount.path("dir/small")).write_all(b"FITS").unwrap();
    assert_eq!(mount.read("dir/small"), "FITS");
}

fn writers_at_once_lose_nothing(stand: Stand) {
    for file in 0..5 {
        stand.lower_file(&format!("file-{file}"), vec![b'.'; 64 * PAGE]);
    }
    let mount = stand.mount("");
    for file in 0..5 {
        let path = mount.path(format!("file-{file}"));
        thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    opened(path).write_all_at(&[b'0' + writer; PAGE], writer as u64 * PAGE as u64).unwrap();
                });
            }
        });
        let mut expected = vec![b'.'; 64 * PAGE];
        for writer in 0..4_u8 {
            expected[writer as usize * PAGE..][..PAGE].fill(b'0' + writer);
        }
        assert!(fs::read(&path).unwrap() == expected, "{}", path.display());
    }
}

fn readers_meanwhile_see_old_or_new(stand: Stand) {
    stand.lower_file("file", vec![b'o'; 4 << 20]);
    let mount = stand.mount("");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let content = fs::read(mount.path("file")).unwrap();
                    assert_eq!(content.len(), 4 << 20);
                    assert!(content[1..].iter().all(|byte| *byte == b'o'), "neither old nor new");
                }
            });
        }
        thread::sleep(Duration::from_millis(20));
        opened(&mount.path("file")).write_all(b"N").unwrap();
        thread::sleep(Duration::from_millis(20));
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read(mount.path("file")).unwrap()[0], b'N');
}

fn empty_files(stand: Stand) {
    stand.lower_file("empty", "");
    let mount = stand.mount("");
    assert_eq!(mount.read("empty"), "");
    opened(&mount.path("empty")).set_len(0).unwrap();
    assert_eq!(mount.read("empty"), "");
    fs::write(mount.path("new"), "").unwrap();
    assert_eq!(fs::metadata(mount.path("new")).unwrap().len(), 0);
    assert_eq!(stdout(mount.sh("cat empty new | wc -c")), "0\n");
    OpenOptions::new().append(true).open(mount.path("empty")).unwrap().write_all(b"x").unwrap();
    assert_eq!(mount.read("empty"), "x");
}

fn metacopy_copies_data_with_the_first_write(stand: Stand) {
    stand.lower_file("file", vec![b'x'; 1 << 20]);
    let mount = stand.mount("metacopy=on");
    let before = fs::metadata(mount.path("file")).unwrap();
    fs::set_permissions(mount.path("file"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fs::metadata(stand.upper("file")).unwrap().blocks() * 512 < 1 << 20);
    let shown = fs::metadata(mount.path("file")).unwrap();
    assert_eq!((shown.len(), shown.blocks()), (1 << 20, before.blocks()), "S30");
    assert!(fs::read(mount.path("file")).unwrap() == vec![b'x'; 1 << 20]);
    let held = File::open(mount.path("file")).unwrap();
    opened(&mount.path("file")).write_all_at(b"y", 5).unwrap();
    drop(held);
    let content = fs::read(stand.upper("file")).unwrap();
    assert!(content.len() == 1 << 20 && content.iter().filter(|byte| **byte == b'y').count() == 1);
    assert!(fs::read(mount.path("file")).unwrap() == content);
}
