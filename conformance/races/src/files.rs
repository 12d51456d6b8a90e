//! Files: opened by name while names move, and held open while they do.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::mover::{self, Move};
use crate::scenario::Stage;
use crate::sys::{self, Fault, Result};
use crate::tree::{self, RECORD, Set};

/// How often a pair's name is opened in its turn.
const OPENINGS: usize = 6;
/// How often each descriptor is used in its pair's turn, at least; and at least until the names have moved so often, but no
/// more often than that.
const USES: usize = 5;
const MOVES: u64 = 2;
const MOST_USES: usize = 2000;

/// A buffer as O_DIRECT wants it.
#[repr(align(4096))]
struct Aligned([u8; 384 * 1024]);

pub fn open_to_read(stage: &mut Stage) {
    by_name(stage, libc::O_RDONLY, |set, file, number| set.check_all(file, number));
}

pub fn open_to_write(stage: &mut Stage) {
    by_name(stage, libc::O_RDWR, |set, file, number| {
        write(set, file, number)?;
        set.check_all(file, number)
    });
}

pub fn open_to_truncate(stage: &mut Stage) {
    by_name(stage, libc::O_RDWR | libc::O_TRUNC, |set, file, number| {
        let size = set.state(number).size;
        let found = sys::fstat(file)?.st_size;
        if found != 0 {
            return Err(Fault::new(format!("file {number} was opened with O_TRUNC and has {found} bytes")));
        }
        sys::pwrite(file, &tree::content(number, size), 0)?;
        let state = set.state(number);
        state.sequence = 0;
        state.mtime = None;
        set.check_all(file, number)
    });
}

/// Held by O_PATH, opened through /proc: the second opening is of the inode and of no name.
pub fn open_again(stage: &mut Stage) {
    held(stage, libc::O_PATH, Stage::exchange, |_, set, file, number| {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        let again = sys::open(path.as_ref(), libc::O_RDONLY)?;
        set.check_all(&again, number)
    });
}

fn by_name(stage: &mut Stage, flags: i32, act: impl Fn(&mut Set, &OwnedFd, u32) -> Result<()>) {
    stage.learn_and_forget();
    let mut pause = 0_u64;
    stage.turns(|stage, pair| {
        let path = stage.set.path("a", pair);
        // Where the other file has been copied up, a move takes no longer than what it may come between.
        if pair % 4 != 0 {
            drop(sys::open(&stage.set.path("c", pair), libc::O_RDWR)?);
        }
        // The first opening meets the first move at another moment each time.
        pause = (pause + 37) % 1000;
        stage.mover.go_after(Duration::from_micros(pause.saturating_sub(200)), stage.exchange(pair));
        mover::spin(Duration::from_micros(200_u64.saturating_sub(pause)));
        for _ in 0..OPENINGS {
            let opened = sys::open(&path, flags).and_then(|file| {
                let number = stage.set.who(&file)?;
                act(&mut stage.set, &file, number)
            });
            if opened.is_err() {
                return opened;
            }
            stage.tally.done += 1;
        }
        Ok(())
    });
}

/// The second name of a hard link is opened while the first moves.
pub fn linked(stage: &mut Stage) {
    stage.turns(|stage, pair| {
        let path = stage.set.path("h", pair);
        stage.mover.go(stage.exchange(pair));
        for _ in 0..OPENINGS {
            let file = sys::open(&path, libc::O_RDWR)?;
            let number = stage.set.who(&file)?;
            if number != 2 * pair as u32 {
                return Err(Fault::new(format!("h{pair} is file {number}")));
            }
            write(&mut stage.set, &file, number)?;
            stage.set.check_all(&file, number)?;
            if sys::fstat(&file)?.st_nlink != 2 {
                return Err(Fault::new(format!("h{pair} has {} links", sys::fstat(&file)?.st_nlink)));
            }
            stage.tally.done += 1;
        }
        Ok(())
    });
}

/// One act on a descriptor of a file that has a number.
type Act = fn(&Stage, &mut Set, &OwnedFd, u32) -> Result<()>;

/// Both files of a pair are held open, and used while their names move.
fn held(stage: &mut Stage, flags: i32, movement: fn(&Stage, usize) -> Move, act: Act) {
    stage.turns(|stage, pair| {
        let mut files = Vec::new();
        for letter in ["a", "c"] {
            let file = sys::open(&stage.set.path(letter, pair), flags)?;
            files.push((stage.set.who(&file)?, file));
        }
        stage.mover.go(movement(stage, pair));
        let shape = stage.set.shape;
        let before = stage.mover.steps();
        for used in 0..MOST_USES {
            if used >= USES && stage.mover.steps() >= before + MOVES {
                break;
            }
            for (number, file) in &files {
                let mut set = std::mem::replace(&mut stage.set, Set::new("".as_ref(), shape));
                let result = act(stage, &mut set, file, *number);
                stage.set = set;
                if result.is_err() {
                    return result;
                }
                stage.tally.done += 1;
            }
        }
        Ok(())
    });
}

fn write(set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    let state = set.state(number);
    state.sequence += 1;
    state.mtime = None;
    sys::pwrite(file, &tree::record(number, state.sequence), 0)
}

/// Registers a scenario on held descriptors.
macro_rules! held {
    ($($name:ident, $flags:expr, $movement:path, $act:expr;)*) => {
        $(pub fn $name(stage: &mut Stage) {
            held(stage, $flags, $movement, $act);
        })*
    };
}

held! {
    pread, libc::O_RDONLY, Stage::exchange, read_some;
    pread_to_and_fro, libc::O_RDONLY, Stage::to_and_fro, read_some;
    pwrite, libc::O_RDWR, Stage::exchange, |_, set, file, number| write(set, file, number);
    pwrite_to_and_fro, libc::O_RDWR, Stage::to_and_fro, |_, set, file, number| write(set, file, number);
    fstat, libc::O_RDONLY, Stage::exchange, look;
    fstat_to_and_fro, libc::O_RDONLY, Stage::to_and_fro, look;
    direct, libc::O_RDONLY | libc::O_DIRECT, Stage::exchange, read_direct;
    get_xattr, libc::O_RDONLY, Stage::exchange, |_, set, file, number| set.check_xattrs(file, number);
    set_xattr, libc::O_RDONLY, Stage::exchange, |_, set, file, number| {
        sys::set_xattr(file, "user.stamp", &number.to_string())?;
        set.state(number).stamped = true;
        set.check_xattrs(file, number)
    };
    chmod, libc::O_RDONLY, Stage::exchange, |_, set, file, number| {
        let mode = 0o600 + number % 64;
        sys::fchmod(file, mode)?;
        set.state(number).mode = mode;
        set.check_stat(file, number)
    };
    times, libc::O_RDONLY, Stage::exchange, |_, set, file, number| {
        let time = 1_600_000_000 + i64::from(number);
        sys::futimens(file, time)?;
        set.state(number).mtime = Some(time);
        set.check_stat(file, number)
    };
    truncate, libc::O_RDWR, Stage::exchange, |_, set, file, number| {
        let state = set.state(number);
        state.size = 1024 + RECORD as u64 * u64::from(number % 64);
        state.filled = state.size;
        state.mtime = None;
        sys::ftruncate(file, state.size)?;
        set.check_stat(file, number)
    };
    fallocate, libc::O_RDWR, Stage::exchange, |_, set, file, number| {
        let state = set.state(number);
        let length = 8192 + RECORD as u64 * u64::from(number % 64);
        state.size = state.size.max(length);
        state.mtime = None;
        sys::fallocate(file, 0, length)?;
        set.check_stat(file, number)
    };
    copy_out, libc::O_RDONLY, Stage::exchange, copy_to_scratch;
    copy_in, libc::O_RDWR, Stage::exchange, copy_from_scratch;
    link_held, libc::O_RDONLY, Stage::exchange, link_and_look;
}

/// What is known, and what the server says when it is asked.
fn look(_: &Stage, set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    set.check_stat(file, number)?;
    sys::ask_for_attributes(file)?;
    set.check_stat(file, number)
}

fn read_some(_: &Stage, set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    let mut bytes = [0; 2048];
    let filled = set.state(number).filled;
    let length = sys::pread(file, &mut bytes, filled - 2048)?;
    if length != 2048 {
        return Err(Fault::new(format!("file {number} reads {length} bytes")));
    }
    tree::all_of(number, &bytes)
}

fn read_direct(_: &Stage, set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    let mut buffer = Box::new(Aligned([0; 384 * 1024]));
    let length = sys::pread(file, &mut buffer.0, 0)?;
    if length < 256 * 1024 || length as u64 > set.state(number).size {
        return Err(Fault::new(format!("file {number} reads {length} bytes directly")));
    }
    tree::all_of(number, &buffer.0[..length])
}

/// Copies of a file go into a new one, which must have its content.
fn copy_to_scratch(stage: &Stage, set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    let path = stage.scratch.join(format!("copy-{number}"));
    let copy = sys::open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)?;
    let wanted = set.state(number).filled as usize;
    let mut done = 0;
    while done < wanted {
        match sys::copy_range(file, &copy, done as u64, wanted - done)? {
            0 => return Err(Fault::new(format!("of file {number} only {done} bytes were copied"))),
            n => done += n,
        }
    }
    let mut bytes = vec![0; wanted];
    let length = sys::pread(&copy, &mut bytes, 0)?;
    if length != wanted {
        return Err(Fault::new(format!("the copy of file {number} reads {length} bytes")));
    }
    tree::all_of(number, &bytes)?;
    sys::unlink(&path)
}

/// A file with the same content is copied into it.
fn copy_from_scratch(stage: &Stage, set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    let path = stage.scratch.join(format!("source-{number}"));
    let source = sys::open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)?;
    let state = set.state(number);
    state.mtime = None;
    state.sequence += 1;
    let mut bytes = tree::content(number, state.filled);
    bytes[..RECORD].copy_from_slice(&tree::record(number, state.sequence));
    sys::pwrite(&source, &bytes, 0)?;
    let mut done = 0;
    while done < bytes.len() {
        match sys::copy_range(&source, file, done as u64, bytes.len() - done)? {
            0 => return Err(Fault::new(format!("into file {number} only {done} bytes were copied"))),
            n => done += n,
        }
    }
    sys::unlink(&path)
}

/// A new name for a held file leads to it.
fn link_and_look(stage: &Stage, set: &mut Set, file: &OwnedFd, number: u32) -> Result<()> {
    let path = stage.scratch.join(format!("link-{number}"));
    sys::link_open(file, &path)?;
    let linked = sys::open(&path, libc::O_RDONLY)?;
    let found = set.who(&linked)?;
    if found != number {
        return Err(Fault::new(format!("a link made of file {number} is file {found}")));
    }
    set.check_all(&linked, number)?;
    sys::unlink(&path)
}

/// A new name for whichever file has the old one; it has one file's number and that file's content.
pub fn link_by_name(stage: &mut Stage) {
    stage.turns(|stage, pair| {
        let (path, new) = (stage.set.path("a", pair), stage.scratch.join(format!("named-{pair}")));
        stage.mover.go(stage.exchange(pair));
        for _ in 0..OPENINGS {
            sys::link(&path, &new)?;
            let linked = sys::open(&new, libc::O_RDONLY)?;
            let number = stage.set.who(&linked)?;
            stage.set.check_all(&linked, number)?;
            sys::unlink(&new)?;
            stage.tally.done += 1;
        }
        Ok(())
    });
}

/// Held symbolic links keep their targets. There is nothing to audit as files.
pub fn readlink(stage: &mut Stage) {
    stage.turns(|stage, pair| {
        let mut links = Vec::new();
        for letter in ["a", "c"] {
            let link = sys::open(&stage.set.path(letter, pair), libc::O_PATH | libc::O_NOFOLLOW)?;
            links.push((stage.set.who(&link)?, link));
        }
        stage.mover.go(stage.exchange(pair));
        for _ in 0..USES {
            for (number, link) in &links {
                let target = sys::read_link(link)?;
                if target != tree::target_of(*number) {
                    return Err(Fault::new(format!("link {number} leads to {target}")));
                }
                stage.tally.done += 1;
            }
        }
        Ok(())
    });
}

/// The name is removed while it is opened: there or not there, and what was opened works on.
pub fn unlink(stage: &mut Stage) {
    stage.turns(|stage, pair| {
        let path = stage.set.path("a", pair);
        let number = 2 * pair as u32;
        stage.mover.go(Move::Unlink(path.clone()));
        while !stage.mover.is_done() {
            match sys::open(&path, libc::O_RDWR) {
                Err(fault) if fault.errno == libc::ENOENT => break,
                // The kernel's overlayfs, where its copy meets the whiteout.
                Err(fault) if fault.errno == libc::EEXIST && is_reference() => break,
                Err(fault) => return Err(fault),
                Ok(file) => {
                    write(&mut stage.set, &file, number)?;
                    stage.set.check_all(&file, number)?;
                }
            }
            stage.tally.done += 1;
        }
        while !stage.mover.is_done() {
            std::thread::yield_now();
        }
        renew(stage, "a", pair)
    });
}

/// Another file takes the name while it is opened: it is there all the time.
pub fn replace(stage: &mut Stage) {
    stage.turns(|stage, pair| {
        let (a, c) = (stage.set.path("a", pair), stage.set.path("c", pair));
        let victim = stage.set.number_of(&sys::stat(&a)?)?;
        stage.mover.go(Move::Replace(c, a.clone()));
        let mut over = false;
        while !over {
            over = stage.mover.is_done();
            let file = sys::open(&a, libc::O_RDWR)?;
            let number = stage.set.who(&file)?;
            write(&mut stage.set, &file, number)?;
            stage.set.check_all(&file, number)?;
            stage.tally.done += 1;
        }
        make(stage, "c", pair, victim)
    });
}

/// Whether the file system is the one that others are held against, whose own faults are known.
fn is_reference() -> bool {
    std::env::var_os("RACES_REFERENCE").is_some()
}

fn renew(stage: &mut Stage, letter: &str, pair: usize) -> Result<()> {
    make(stage, letter, pair, 2 * pair as u32)
}

/// Makes the file of this number anew.
fn make(stage: &mut Stage, letter: &str, pair: usize, number: u32) -> Result<()> {
    let path = stage.set.path(letter, pair);
    tree::make_file(&path, number, false).map_err(|error| Fault::new(format!("making a file: {error}")))?;
    let inode = sys::stat(&path)?.st_ino;
    stage.set.note(inode, number);
    Ok(())
}
