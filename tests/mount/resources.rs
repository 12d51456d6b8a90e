//! What the daemon holds: descriptors and memory stay bounded, and come back (S46).

use std::fs::{self, File};

use crate::calls::{Mapping, Protection};
use crate::harness::{Mount, Stand, both_ways, stdout, wait_for};

both_ways! {
    mapped_files_leave_no_descriptors, directories_made_and_removed_leave_no_descriptors,
    unlinked_files_leave_no_descriptors, a_large_tree_needs_few_descriptors, memory_comes_back,
}

/// Makes the kernel forget what nobody uses.
fn drop_caches() {
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
}

/// The daemon's resident memory, in KiB.
fn resident(mount: &Mount<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn mapped_files_leave_no_descriptors(stand: Stand) {
    for number in 0..300 {
        stand.lower_file(&format!("file-{number}"), "content");
    }
    let mount = stand.mount("");
    let before = mount.descriptors();
    let mut most = 0;
    for number in 0..300 {
        let path = mount.path(format!("file-{number}"));
        let file = File::options().read(true).write(number % 2 == 0).open(path).unwrap();
        let mapping = Mapping::new(&file, 7, Protection::Read).unwrap();
        drop(file);
        assert_eq!(mapping.read(0, 7), b"content");
        most = most.max(mount.descriptors());
    }
    eprintln!("descriptors: {before} before, at most {most}");
    assert!(most < before + 200, "{most} descriptors");
    drop_caches();
    wait_for("the descriptors to be closed", || mount.descriptors() < before + 150);
}

fn directories_made_and_removed_leave_no_descriptors(stand: Stand) {
    let mount = stand.mount("");
    let round = |count: usize| {
        for number in 0..count {
            let dir = mount.path(format!("dir-{number}"));
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("file"), "x").unwrap();
            fs::read_dir(&dir).unwrap().count();
            fs::remove_file(dir.join("file")).unwrap();
            fs::remove_dir(&dir).unwrap();
        }
        mount.descriptors()
    };
    let few = round(50);
    let many = round(400);
    eprintln!("descriptors: {few} after 50 directories, {many} after 400 more");
    assert!(many <= few + 150, "from {few} to {many} descriptors");
}

fn unlinked_files_leave_no_descriptors(stand: Stand) {
    for number in 0..300 {
        stand.lower_file(&format!("file-{number}"), "content");
    }
    let mount = stand.mount("");
    let before = mount.descriptors();
    for number in 0..300 {
        let path = mount.path(format!("file-{number}"));
        let file = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 7);
    }
    drop_caches();
    wait_for("the descriptors to be closed", || mount.descriptors() < before + 150);
}

/// Where only 300 descriptors are allowed.
fn a_large_tree_needs_few_descriptors(mut stand: Stand) {
    for number in 0..400 {
        stand.lower_file(&format!("d-{}/e-{number}/file", number % 40), "content");
    }
    stand.open_files = Some(300);
    let mount = stand.mount("");
    assert_eq!(stdout(mount.sh("find . -type f | xargs cat | wc -c")), "2800\n");
    stdout(mount.sh("find . -type f | while read f; do echo x >>$f; done"));
    assert_eq!(stdout(mount.sh("find . -type f | xargs cat | wc -c")), "3600\n");
    assert!(mount.descriptors() < 300);
    stdout(mount.sh("rm -r *"));
    assert_eq!(mount.names(""), [""; 0]);
}

fn memory_comes_back(stand: Stand) {
    for number in 0..18_000 {
        let path = stand.lower(format!("d-{}", number / 500));
        if number % 500 == 0 {
            fs::create_dir(&path).unwrap();
        }
        File::create(path.join(format!("a-rather-long-name-of-a-file-{number}"))).unwrap();
    }
    let mount = stand.mount("");
    let before = resident(&mount);
    stdout(mount.sh("find . -type f -size +1"));
    let peak = resident(&mount);
    drop_caches();
    let enough = before + (peak - before) * 7 / 10;
    wait_for("the memory to come back", || resident(&mount) < enough);
    eprintln!("resident: {before} KiB before, {peak} with all files known, {} after", resident(&mount));
}
