//! Directories that are held open while their names move, and while the server has to let go of their descriptors.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::mover::Move;
use crate::scenario::Stage;
use crate::sys::{self, Fault, Result};
use crate::tree::{self, RECORD};

/// Other directories, of which each use of a held one asks some.
pub const OTHERS: usize = 400;
const ASKED: usize = 150;
const USES: u32 = 3;

/// The other directories, in a layer.
pub fn make_others(directory: &Path) -> std::io::Result<()> {
    for n in 0..OTHERS {
        std::fs::create_dir_all(directory.join(format!("{n}")))?;
        std::fs::write(directory.join(format!("{n}/x")), "")?;
    }
    Ok(())
}

pub fn exchange(stage: &mut Stage) {
    play(stage, Stage::exchange);
}

pub fn to_and_fro(stage: &mut Stage) {
    play(stage, Stage::to_and_fro);
}

fn play(stage: &mut Stage, movement: fn(&Stage, usize) -> Move) {
    let others = stage.scratch.join("../others");
    let mut made: HashMap<u32, u32> = HashMap::new();
    let mut asked = 0;
    stage.turns(|stage, pair| {
        let mut held = Vec::new();
        for letter in ["a", "c"] {
            let file = sys::open(&stage.set.path(letter, pair), libc::O_RDONLY | libc::O_DIRECTORY)?;
            held.push((stage.set.who(&file)?, file));
        }
        stage.mover.go(movement(stage, pair));
        for _ in 0..USES {
            ask_others(&others, &mut asked)?;
            for (number, directory) in &held {
                let count = made.entry(*number).or_default();
                use_directory(directory, *number, *count)?;
                *count += 1;
                stage.tally.done += 1;
            }
        }
        stage.tally.moved += stage.mover.rest()?;
        for (number, directory) in &held {
            check_names(directory, *number, made[number])?;
        }
        // And as they are found by name.
        for letter in ["a", "c"] {
            let directory = sys::open(&stage.set.path(letter, pair), libc::O_RDONLY | libc::O_DIRECTORY)?;
            let number = stage.set.who(&directory)?;
            check_names(&directory, number, made[&number])?;
        }
        Ok(())
    });
}

/// Looks for names that were never asked for, so that the server has to look into many directories.
fn ask_others(others: &Path, asked: &mut usize) -> Result<()> {
    for _ in 0..ASKED {
        let path: PathBuf = others.join(format!("{}/missing-{asked}", *asked % OTHERS));
        match sys::stat(&path) {
            Err(fault) if fault.errno == libc::ENOENT => {}
            Err(fault) => return Err(fault),
            Ok(_) => return Err(Fault::new("a file that nobody made")),
        }
        *asked += 1;
    }
    Ok(())
}

fn use_directory(directory: &OwnedFd, number: u32, count: u32) -> Result<()> {
    let mut bytes = [0; 64];
    let file = sys::open_below(directory, &format!("f{}", count % 4), libc::O_RDONLY)?;
    sys::pread(&file, &mut bytes, 0)?;
    tree::all_of(number, &bytes)?;
    sys::stat_below(directory, &format!("is-{number}"))?;
    match sys::stat_below(directory, &format!("is-{}", number ^ 1)) {
        Err(fault) if fault.errno == libc::ENOENT => {}
        Err(fault) => return Err(fault),
        Ok(_) => return Err(Fault::new(format!("directory {number} has a name of the other"))),
    }
    let new =
        sys::open_below(directory, &format!("new-{count}"), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)?;
    sys::pwrite(&new, &tree::record(number, count), 0)?;
    sys::make_directory_below(directory, &format!("sub-{count}"))?;
    sys::make_directory_below(directory, "gone")?;
    sys::unlink_below(directory, "gone", libc::AT_REMOVEDIR)?;
    check_listing(directory, number, count + 1)
}

fn check_listing(directory: &OwnedFd, number: u32, count: u32) -> Result<()> {
    let mut found = sys::list(directory)?;
    let mut wanted: Vec<String> = [".", "..", "f0", "f1", "f2", "f3"].map(str::to_owned).into();
    wanted.push(format!("is-{number}"));
    for n in 0..count {
        wanted.extend([format!("new-{n}"), format!("sub-{n}")]);
    }
    found.sort();
    wanted.sort();
    if found == wanted {
        return Ok(());
    }
    let more: Vec<_> = found.iter().filter(|name| !wanted.contains(name)).collect();
    let less: Vec<_> = wanted.iter().filter(|name| !found.contains(name)).collect();
    Err(Fault::new(format!("directory {number} has too many: {more:?}, lacks: {less:?}")))
}

/// Everything that was made in it is in it, and is its own.
fn check_names(directory: &OwnedFd, number: u32, count: u32) -> Result<()> {
    check_listing(directory, number, count)?;
    for n in 0..count {
        let mut bytes = [0; RECORD];
        let file = sys::open_below(directory, &format!("new-{n}"), libc::O_RDONLY)?;
        sys::pread(&file, &mut bytes, 0)?;
        if bytes != tree::record(number, n) {
            return Err(Fault::new(format!("new-{n} of directory {number} holds something else")));
        }
    }
    Ok(())
}
