//! Without privilege: as an ordinary user through fusermount3, and as root of that user's own namespace. The marks are
//! `user.overlay.*` then, and owners are what the user may set (S7, S12).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mount::{UnmountFlags, unmount};

use crate::harness::{Io, NOBODY, OtherMount, Stand, names, run, skipped, stdout, text, wait_for};
use crate::snapshot::{attributes, snapshot};

/// Lets the user open the FUSE device while it lives; one test at a time.
struct Device {
    /// Whether an access list was made, and has to go again.
    granted: bool,
    _turn: MutexGuard<'static, ()>,
}

impl Device {
    fn open_to_user() -> Option<Device> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if user_may_open_device() {
            return Some(Device { granted: false, _turn: turn });
        }
        let entry = format!("u:{NOBODY}:rw");
        let granted = Command::new("setfacl").args(["-m", &entry, "/dev/fuse"]).output();
        let device = Device { granted: granted.is_ok_and(|o| o.status.success()), _turn: turn };
        if user_may_open_device() {
            return Some(device);
        }
        skipped("an ordinary user cannot open /dev/fuse here, and setfacl does not help");
        None
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.granted {
            run("setfacl", &["-x", &format!("u:{NOBODY}"), "/dev/fuse"]);
            let left = Command::new("getfacl").args(["-cpn", "/dev/fuse"]).output().unwrap();
            let left = String::from_utf8_lossy(&left.stdout).into_owned();
            if !left.lines().any(|line| line.starts_with("user:") && !line.starts_with("user::")) {
                run("setfacl", &["-b", "/dev/fuse"]);
            }
        }
    }
}

fn user_may_open_device() -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<>/dev/fuse"]).stderr(Stdio::null()).uid(NOBODY).gid(NOBODY);
    command.status().is_ok_and(|status| status.success())
}

/// How the user mounts.
#[derive(Clone, Copy)]
enum Way {
    /// fusermount3 does it.
    Fusermount,
    /// The user is root of a namespace.
    Namespace,
}

/// Layers that belong to the user, and the program where the user can run it.
struct UserStand {
    stand: Stand,
    program: PathBuf,
    way: Way,
    _device: Device,
}

impl UserStand {
    fn new(way: Way) -> Option<UserStand> {
        let stand = Stand::new(Io::Cached)?;
        let tool = match way {
            Way::Fusermount => "fusermount3 --version",
            Way::Namespace => "unshare -Urm true",
        };
        let mut probe = Command::new("sh");
        probe.args(["-c", tool]).uid(NOBODY).gid(NOBODY).stdout(Stdio::null());
        if !probe.status().is_ok_and(|status| status.success()) {
            skipped(&format!("`{tool}` does not run as an ordinary user"));
            return None;
        }
        let device = Device::open_to_user()?;
        let program = stand.path("plyfs");
        fs::copy(env!("CARGO_BIN_EXE_plyfs"), &program).unwrap();
        let made = UserStand { stand, program, way, _device: device };
        for name in ["lower", "upper", "work", "merged"] {
            made.give(&made.stand.path(name));
        }
        Some(made)
    }

    /// Makes the user the owner.
    fn give(&self, path: &std::path::Path) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// A file of the lower that belongs to the user.
    fn lower_file(&self, name: &str, content: &str) {
        let path = self.stand.lower_file(name, content);
        self.give(&path);
        self.give(path.parent().unwrap());
    }

    /// Mounts, runs `script` in the mount, and unmounts, all as the user.
    fn session(&self, options: &str, script: &str) -> Output {
        let before = snapshot(&self.stand.lowers[0]);
        let whole = format!(
            "{} mount --lower lower --upper upper --work work {options} merged
            cd merged
            {script}
            cd ..
            {} unmount merged",
            self.program.display(),
            self.program.display()
        );
        let mut command = Command::new("timeout");
        command.arg("60").args(match self.way {
            Way::Fusermount => &[][..],
            Way::Namespace => &["unshare", "-Urm"],
        });
        command.args(["sh", "-ec", &whole]).current_dir(self.stand.path("")).stdin(Stdio::null());
        command.env("HOME", self.stand.path("")).uid(NOBODY).gid(NOBODY);
        let output = command.output().unwrap();
        if output.status.success() {
            wait_for("the mount to go", || !self.stand.is_mounted());
        }
        assert_eq!(snapshot(&self.stand.lowers[0]), before, "S2");
        output
    }
}

impl Drop for UserStand {
    fn drop(&mut self) {
        if self.stand.is_mounted()
            && let Err(e) = unmount(&self.stand.target, UnmountFlags::DETACH)
        {
            eprintln!("left mounted: {e}");
        }
    }
}

/// Makes a test of each function, for both ways of mounting.
macro_rules! in_both_ways {
    ($($name:ident),+ $(,)?) => {
        mod fusermount {
            $(#[test]
            fn $name() {
                if let Some(stand) = super::UserStand::new(super::Way::Fusermount) {
                    super::$name(stand);
                }
            })+
        }
        mod namespace {
            $(#[test]
            fn $name() {
                if let Some(stand) = super::UserStand::new(super::Way::Namespace) {
                    super::$name(stand);
                }
            })+
        }
    };
}

in_both_ways! {
    files_are_read_copied_made_and_removed, marks_are_the_users, a_remount_finds_everything,
    owners_that_cannot_be_set, recorded_owners, passthrough_is_refused_with_a_reason,
    attributes_of_what_may_only_be_read, marks_of_others_lead_nowhere, metadata_copies_are_not_followed_unasked,
}

fn files_are_read_copied_made_and_removed(stand: UserStand) {
    for name in ["file", "dir/one", "dir/two", "gone"] {
        stand.lower_file(name, "lower");
    }
    fs::hard_link(stand.stand.lower("file"), stand.stand.lower("linked")).unwrap();
    let script = "cat file; echo changed >>linked; cat file; echo new >new; rm gone; mv dir moved; ls moved
        chmod 600 moved/one; ln -s x link; mkfifo pipe; find . | sort | tr '\\n' ' '; stat -c %h file";
    let output = stdout(stand.session("", script));
    let expected = "lowerlowerchanged\none\ntwo\n. ./file ./link ./linked ./moved ./moved/one ./moved/two ./new ./pipe 2\n";
    assert_eq!(output, expected);
    assert!(stand.stand.has_whiteout("gone") && stand.stand.has_whiteout("dir"));
    assert_eq!(fs::read_to_string(stand.stand.upper("linked")).unwrap(), "lowerchanged\n");
}

fn marks_are_the_users(stand: UserStand) {
    stand.lower_file("opaque/old", "x");
    stand.lower_file("dir/file", "x");
    stdout(
        stand
            .session("", "rm -r opaque; mkdir opaque; mv dir moved; getfattr -d -m - . opaque moved | wc -c"),
    );
    let marks = |name: &str| attributes(&stand.stand.upper(name));
    let has = |name: &str, mark: &str, value: &[u8]| marks(name).contains(&(mark.to_owned(), value.to_vec()));
    assert!(has("opaque", "user.overlay.opaque", b"y"), "{:?}", marks("opaque"));
    assert!(has("moved", "user.overlay.redirect", b"dir") || has("moved", "user.overlay.redirect", b"/dir"));
    for name in ["", "opaque", "moved"] {
        assert!(marks(name).iter().all(|(mark, _)| mark.starts_with("user.overlay.")), "{:?}", marks(name));
    }
}

fn a_remount_finds_everything(stand: UserStand) {
    stand.lower_file("dir/old", "x");
    stand.lower_file("other/in", "x");
    let script =
        "rm -r dir; mkdir dir; echo new >dir/new; mv other elsewhere; rm elsewhere/in; echo >elsewhere/now
        stat -c %i dir elsewhere";
    let numbers = stdout(stand.session("", script));
    let found = stdout(stand.session("", "stat -c %i dir elsewhere; find . | sort | tr '\\n' ' '"));
    assert_eq!(found, format!("{numbers}. ./dir ./dir/new ./elsewhere ./elsewhere/now "));
}

/// What belongs to another user cannot be copied with its owner, so it is not copied at all; it can be removed.
fn owners_that_cannot_be_set(stand: UserStand) {
    let lower = stand.stand.lower_file("roots", "content");
    fs::set_permissions(&lower, fs::Permissions::from_mode(0o666)).unwrap();
    let closed = stand.stand.lower_file("closed", "secret");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    stand.lower_file("own", "x");
    let script = "if printf x | dd of=roots conv=notrunc 2>/dev/null; then exit 7; fi; cat roots
        if cat closed 2>/dev/null; then exit 9; fi
        if chown 12345 own 2>/dev/null; then exit 8; fi
        echo y >>own; rm -f closed 2>/dev/null || true; ls";
    // In a namespace that does not map the owner the kernel allows no removal either.
    let (listed, changed) = match stand.way {
        Way::Fusermount => ("contentown\nroots\n", &["closed", "own"][..]),
        Way::Namespace => ("contentclosed\nown\nroots\n", &["own"][..]),
    };
    assert_eq!(stdout(stand.session("", script)), listed);
    assert_eq!(stand.stand.upper_names(""), changed);
    assert_eq!(fs::metadata(stand.stand.upper("own")).unwrap().uid(), NOBODY);
}

/// S40.
fn recorded_owners(stand: UserStand) {
    stand.lower_file("file", "x");
    let script = "echo y >>file; chmod 4755 file; stat -c %a file; mkdir dir; stat -c %F dir";
    assert_eq!(stdout(stand.session("-o xattr_permissions=2", script)), "4755\ndirectory\n");
    let recorded = attributes(&stand.stand.upper("file"));
    let found = recorded.iter().find(|(name, _)| name == "user.containers.override_stat");
    let value = String::from_utf8_lossy(&found.unwrap().1).into_owned();
    assert!(value.contains(":04755:") || value.contains(":4755:"), "{value}");
    let seen = stdout(stand.session("-o xattr_permissions=2", "stat -c %a file; getfattr -d file | wc -c"));
    assert_eq!(seen, "4755\n0\n", "and it does not show");
}

/// S12: owner, attributes, mode, times.
fn attributes_of_what_may_only_be_read(stand: UserStand) {
    stand.lower_file("file", "x");
    run("setfattr", &["-n", "user.kept", "-v", "yes", text(&stand.stand.lower("file"))]);
    fs::set_permissions(stand.stand.lower("file"), fs::Permissions::from_mode(0o444)).unwrap();
    let script = "touch file; stat -c %a file; getfattr --only-values -n user.kept file";
    assert_eq!(stdout(stand.session("", script)), "444\nyes");
    let copy = stand.stand.upper("file");
    assert!(attributes(&copy).contains(&("user.kept".to_owned(), b"yes".to_vec())));
    assert_eq!(fs::metadata(copy).unwrap().mode() & 0o7777, 0o444);
}

/// S7, S40: another user's files in a lower of one's own. In the namespace that user has no number.
fn marks_of_others_lead_nowhere(stand: UserStand) {
    const STRANGER: u32 = 4242;
    stand.lower_file("closed/secret", "hidden");
    fs::set_permissions(stand.stand.lower("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["copy", "device", "program"] {
        fs::set_permissions(stand.stand.lower_file(name, ""), fs::Permissions::from_mode(0o755)).unwrap();
    }
    stand.stand.lower_dir("way");
    for (name, mark, value) in [
        ("copy", "user.overlay.metacopy", ""),
        ("copy", "user.overlay.redirect", "/closed/secret"),
        ("way", "user.overlay.redirect", "/closed"),
        ("device", "user.containers.override_stat", "4242:4242:0666:block-7-0"),
        ("program", "user.containers.override_stat", "0:0:04755:file"),
    ] {
        run("setfattr", &["-n", mark, "-v", value, text(&stand.stand.lower(name))]);
        chown(stand.stand.lower(name), Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let script = "cat copy; ls way; stat -c '%n %F %a' copy device program";
    let expected =
        "copy regular empty file 755\ndevice regular empty file 755\nprogram regular empty file 755\n";
    for options in ["", "-o metacopy=on", "-o metacopy=on,xattr_permissions=2"] {
        assert_eq!(stdout(stand.session(options, script)), expected, "{options}");
    }
}

/// S7: images are unpacked by whoever mounts them, with the attributes that they name.
fn metadata_copies_are_not_followed_unasked(mut stand: UserStand) {
    stand.lower_file("copy", "own");
    let base = stand.stand.add_lower("base");
    stand.give(&base);
    fs::write(base.join("secret"), "hidden").unwrap();
    fs::set_permissions(base.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    stand.give(&base.join("secret"));
    for (mark, value) in [("metacopy", ""), ("redirect", "/secret")] {
        let mark = format!("user.overlay.{mark}");
        run("setfattr", &["-n", &mark, "-v", value, text(&stand.stand.lower("copy"))]);
    }
    let lowers = format!("--lower {}", text(&base));
    assert_eq!(stdout(stand.session(&lowers, "cat copy")), "own");
    assert_eq!(stdout(stand.session(&format!("-o metacopy=on {lowers}"), "cat copy")), "hid");
}

fn passthrough_is_refused_with_a_reason(stand: UserStand) {
    let output = stand.session("-o io=passthrough", "true");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        message.contains("io=passthrough needs CAP_SYS_ADMIN in the initial user namespace"),
        "{message}"
    );
    assert!(names(&stand.stand.target).is_empty() && !stand.stand.is_mounted());
    assert!(text(&stand.program).ends_with("plyfs"));
}

/// S4. File systems in memory have the same numbers: without a clone of the lower they are told apart by device.
#[test]
fn what_is_mounted_inside_a_lower_is_known_again() {
    let Some(user) = UserStand::new(Way::Namespace) else { return };
    let mount = |name: &str| {
        let dir = user.stand.lowers[0].join(name);
        OtherMount::new(&["-t", "tmpfs", "-o", "size=64k", "none"], &dir)
    };
    let (Some(_a), Some(_b)) = (mount("a"), mount("b")) else { return };
    let script = "set -- $(stat -c %i a b a b)
        test $1 = $3; test $2 = $4; test $1 != $2
        mount -t tmpfs none b
        if mkdir b; then exit 1; fi
        mountpoint -q b
        umount b";
    let output = user.session("", script);
    assert!(output.status.success(), "{output:?}");
}
