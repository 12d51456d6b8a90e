//! Marks count only from those who may set them (S5, S7, S17, S40). The stranger is another user than the one who mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use plyfs::overlay::{Changes, Config, Kind, LowerMarks, NewFile, XattrPermissions};
use plyfs::sys::Errno;

use crate::acl;
use crate::harness::{USER, Union, caller, privileged, tempdir, words};
use crate::layers;

const OVERRIDE: &str = "user.containers.override_stat";
const STAND_IN: &str = "trusted.overlay.override_stat";
/// Nobody who runs these tests.
const STRANGER: u32 = 4242;

/// A union over lowers of which some files, or their roots (`""`), belong to a stranger.
fn with_strangers(lowers: &[&str], strangers: &[&str], tweak: impl FnOnce(&mut Config)) -> Union {
    let dir = tempdir();
    for (i, description) in lowers.iter().enumerate() {
        let root = dir.path().join(format!("lower{i}"));
        fs::create_dir(&root).expect("a lower");
        layers::build(&root, description);
        for path in strangers.iter().map(|path| root.join(path)).filter(|path| path.exists()) {
            // A change of owner drops bits, but no attributes.
            chown(path, Some(STRANGER), Some(STRANGER)).expect("chown");
        }
    }
    Union::at(dir, "", &vec![""; lowers.len()], tweak)
}

/// Records of every type, with every bit and root's owner.
const RECORDS: [&str; 9] = [
    "4242:4242:0666:block-7-0",
    "4242:4242:0666:char-1-3",
    "4242:4242:0666:char-0-0",
    "0:0:04755:file",
    "4242:4242:06755:file",
    "0:0:0777:symlink",
    "0:0:0644:pipe",
    "0:0:0644:socket",
    "0:0:01777",
];

// S40
#[test]
fn a_strangers_record_gives_neither_device_nor_bit_nor_owner() {
    if !privileged("other owners") {
        return;
    }
    for record in RECORDS {
        for how in [XattrPermissions::Off, XattrPermissions::User] {
            let lower = format!("home/f home/f@{OVERRIDE}={record} home/f:644 home@{OVERRIDE}={record}");
            let mut u =
                with_strangers(&[&lower], &["home", "home/f"], |config| config.xattr_permissions = how);
            for round in 0..2 {
                let shown = u.stat("home/f").expect("there");
                // In a layer that was said to record modes theirs counts for what chmod(2) could have done.
                let own = record == "4242:4242:06755:file" && how == XattrPermissions::User;
                let perm = if own && round == 0 { 0o755 } else { 0o644 };
                assert_eq!((shown.kind, shown.perm, shown.rdev), (Kind::File, perm, 0), "{record}");
                assert_eq!((shown.uid, shown.gid), (STRANGER, STRANGER), "{record}");
                assert_eq!(
                    u.stat("home").map(|a| (a.kind, a.uid)),
                    Ok((Kind::Directory, STRANGER)),
                    "{record}"
                );
                u.chmod("home/f", 0o644).expect("copied up");
                u.reopen();
            }
        }
    }
}

// S40
#[test]
fn in_a_strangers_layer_nobodys_records_count() {
    if !privileged("other owners") {
        return;
    }
    let lower = format!(
        "@{OVERRIDE}=0:0:0755:dir f f@{OVERRIDE}=0:0:04755:file f:755 r r@{OVERRIDE}=0:0:04755:file r:755"
    );
    let u = with_strangers(&[&lower], &["", "f"], |_| {});
    assert_eq!(u.stat("").map(|a| a.uid), Ok(0), "the upper's");
    assert_eq!(u.stat("f").map(|a| (a.perm, a.uid)), Ok((0o755, STRANGER)));
    assert_eq!(
        u.stat("r").map(|a| (a.perm, a.uid)),
        Ok((0o755, 0)),
        "root's own file, put there by whoever owns the root"
    );
}

// S17
#[test]
fn a_users_device_0_0_is_kept_where_only_root_can_write() {
    if !privileged("other owners") {
        return;
    }
    let mut u = Union::of(&["d/"]);
    u.make("c", NewFile::Node(Kind::Char, 0), 0o666, USER).expect("made");
    u.make("f", NewFile::Regular, 0o666, USER).expect("made");
    assert_eq!(layers::attribute(&u.upper("c"), STAND_IN), Some("1000:1000:0644:char-0-0".into()));
    assert_eq!(layers::attribute(&u.upper("c"), OVERRIDE), None);
    // Which the user could do who reaches the upper.
    layers::set_attribute(&u.upper("f"), OVERRIDE, b"0:0:06755:char-1-3");
    u.reopen();
    assert_eq!(u.stat("c").map(|a| (a.kind, a.rdev, a.uid)), Ok((Kind::Char, 0, USER.uid)));
    assert_eq!(u.stat("f").map(|a| (a.kind, a.perm)), Ok((Kind::File, 0o644)));
    u.chmod("c", 0o600).expect("changed");
    assert_eq!(u.stat("c").map(|a| (a.kind, a.perm)), Ok((Kind::Char, 0o600)));
    assert_eq!(u.xattrs("c"), [""; 0], "S36");
    assert_eq!(u.setxattr("f", STAND_IN, "0:0:0644:char-0-0"), Err(Errno::PERM), "S36");
}

/// A secret, and a stranger's file and directory that lead to it.
const LEADING: &str = "secret=hidden secret:600 closed/ closed:700 closed/in=hidden \
    copy copy@user.overlay.metacopy= copy@user.overlay.redirect=/secret \
    sibling sibling@user.overlay.metacopy= sibling@user.overlay.redirect=secret \
    way/ way@user.overlay.redirect=/closed near/ near@user.overlay.redirect=closed";

// S7
#[test]
fn a_strangers_marks_lead_nowhere() {
    if !privileged("other owners") {
        return;
    }
    for metacopy in [false, true] {
        let leads = ["copy", "sibling", "way", "near"];
        let u = with_strangers(&[LEADING, LEADING], &leads, |config| {
            (config.user_xattr, config.metacopy) = (true, metacopy);
        });
        assert_eq!((u.read("copy"), u.read("sibling")), (Ok(String::new()), Ok(String::new())));
        assert_eq!((u.names("way"), u.names("near")), (vec![], vec![]));
        u.write("copy", 0, "mine").expect("copied up");
        assert_eq!(u.read("copy"), Ok("mine".into()));
    }
}

// S7
#[test]
fn metadata_copies_of_the_user_name_space_want_to_be_asked_for() {
    for (metacopy, content) in [(false, ""), (true, "hidden")] {
        let lowers = [
            "copy copy@user.overlay.metacopy= copy@user.overlay.redirect=/secret",
            "secret=hidden secret:600",
        ];
        let dir = tempdir();
        for (i, lower) in lowers.iter().enumerate() {
            let root = dir.path().join(format!("lower{i}"));
            fs::create_dir(&root).expect("a lower");
            layers::build(&root, lower);
        }
        let copy = fs::OpenOptions::new().write(true).open(dir.path().join("lower0/copy")).expect("opened");
        copy.set_len(content.len() as u64).expect("a size");
        let u =
            Union::at(dir, "", &["", ""], |config| (config.user_xattr, config.metacopy) = (true, metacopy));
        assert_eq!(u.read("copy"), Ok(content.into()));
    }
}

// S7: a redirect on a file that holds its own data leads nowhere.
#[test]
fn a_redirect_without_metacopy_means_nothing_on_a_file() {
    let u = Union::with("", &["f=own f@user.overlay.redirect=/secret", "secret=hidden"], |config| {
        (config.user_xattr, config.metacopy) = (true, true);
    });
    assert_eq!(u.read("f"), Ok("own".into()));
}

// S5: whoever may set them could remove the names just as well.
#[test]
fn a_strangers_opaque_marks_and_whiteouts_hide() {
    if !privileged("other owners") {
        return;
    }
    for mark in ["user.overlay.opaque=y", "user.fuseoverlayfs.opaque=y"] {
        let u = with_strangers(&[&format!("d/a d@{mark}"), "d/b"], &["d"], |_| {});
        assert_eq!(u.names("d"), ["a"], "{mark}");
    }
    let top = "d/a d@user.overlay.opaque=x d/b d/b@user.overlay.whiteout=";
    let u = with_strangers(&[top, "d/b=1 d/c"], &["d", "d/b"], |_| {});
    assert_eq!(u.names("d"), ["a", "c"]);
}

// S94
#[test]
fn in_the_machines_own_directories_no_mark_counts() {
    let mut marks = vec!["user.overlay."];
    if privileged("trusted attributes") {
        marks.push("trusted.overlay.");
    }
    for prefix in marks {
        let lower = format!(
            "d/a d@{prefix}opaque=x d/b d/b@{prefix}whiteout= d@{prefix}redirect=/secret secret/s \
             f=own f@{prefix}metacopy= f@{prefix}redirect=/secret/s r r@{OVERRIDE}=0:0:04755:char-1-3 r:640 \
             @{OVERRIDE}=0:0:0755:dir"
        );
        let u = Union::with("", &[&lower, "d/below secret/t"], |config| {
            (config.lower_marks, config.user_xattr) = (LowerMarks::Ignored, prefix.starts_with("user."));
            config.metacopy = true;
        });
        assert_eq!(u.names("d"), ["a", "b", "below"], "{prefix}");
        assert_eq!(u.read("f"), Ok("own".into()));
        assert_eq!(u.stat("r").map(|a| (a.kind, a.perm)), Ok((Kind::File, 0o640)));
    }
}

// S18: root's redirects in the user name space count on root's own directories only.
#[test]
fn with_userxattr_root_redirects_no_directory_of_others() {
    if !privileged("other owners") {
        return;
    }
    let mut u = with_strangers(&["theirs/x own/y f=1"], &["theirs"], |config| {
        (config.user_xattr, config.metacopy) = (true, true);
    });
    assert_eq!(u.rename("theirs", "moved"), Err(Errno::XDEV));
    u.rename("own", "renamed").expect("renamed");
    let give = Changes { uid: Some(STRANGER), ..Changes::default() };
    assert_eq!(u.setattr("renamed", give).map(drop), Err(Errno::OPNOTSUPP));
    u.setattr("f", give).expect("copied up");
    u.reopen();
    assert_eq!(u.tree(), words("theirs/ theirs/x= renamed/ renamed/y= f=1"));
}

/// Gives a directory what new entries inherit: an ACL for another user, and the group.
fn passes_on(dir: &Path) {
    layers::set_attribute(dir, acl::DEFAULT, &acl::blob(5, 6));
    fs::set_permissions(dir, fs::Permissions::from_mode(0o2777)).expect("a mode");
}

// S12, S22
#[test]
fn what_holds_the_work_directory_passes_nothing_on() {
    if !privileged("other owners") {
        return;
    }
    let dir = tempdir();
    fs::create_dir(dir.path().join("work")).expect("a directory");
    passes_on(&dir.path().join("work"));
    // One that an earlier mount left with the ACL.
    fs::create_dir(dir.path().join("work/work")).expect("a directory");
    chown(dir.path().join("work"), None, Some(77)).expect("chown");
    fs::set_permissions(dir.path().join("work"), fs::Permissions::from_mode(0o2777)).expect("a mode");
    let u = Union::at(dir, "", &["f=1 f:640 d/ d:750 p| p:640"], |_| {});
    for path in ["f", "d", "p"] {
        u.setattr(path, Changes { uid: Some(12), ..Changes::default() }).expect("copied up");
    }
    u.make("made", NewFile::Regular, 0o640, USER).expect("made");
    u.make("dir", NewFile::Directory, 0o750, USER).expect("made");
    for path in ["f", "d", "p", "made", "dir"] {
        assert_eq!(layers::attribute(&u.upper(path), acl::ACCESS), None, "{path}");
        assert_eq!(layers::attribute(&u.upper(path), acl::DEFAULT), None, "{path}");
        let meta = u.upper(path).symlink_metadata().expect("there");
        let mode = if ["d", "dir"].contains(&path) { 0o750 } else { 0o640 };
        assert_eq!(meta.mode() & 0o7777, mode, "{path}");
        assert_ne!(meta.gid(), 77, "{path}");
    }
    for name in ["work", "index"] {
        let meta = fs::metadata(u.dir.path().join("work").join(name)).expect("there");
        assert_eq!(meta.mode() & 0o7777, 0o700, "{name}");
    }
    assert_eq!(caller().uid, 0);
}
