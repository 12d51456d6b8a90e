//! Does one operation in a directory and prints how long it took: `NANOSECONDS OPERATIONS`. Starting the program,
//! reading the list of names and preparing buffers are not counted.
//!
//! A list is a file of names relative to the directory, one a line; it is shuffled, always in the same way. An operation
//! on a list, and `create`, may be shared among several processes, which start together; then the time is that from the
//! first start to the last end.

mod data;
mod entries;
mod list;
mod make;
mod names;
mod program;
mod random;
mod share;
mod walk;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use share::Share;

/// What the program can do, with its arguments.
const USAGE: &str = "usage: bench-client OPERATION DIRECTORY ARGUMENT...

  walk DIRECTORY                       list everything below it and stat each entry
  list DIRECTORY                       list everything below it
  stat DIRECTORY LIST [PROCESSES]      stat each name
  missing DIRECTORY LIST               stat a name beside each that is not there
  read DIRECTORY LIST [PROCESSES]      open, read and close each file
  append DIRECTORY LIST                open each file, append one byte, close
  create DIRECTORY COUNT [PROCESSES]   make files of 4 KiB, each process in a directory of its own
  rename DIRECTORY COUNT               rename what `create` made with one process
  unlink DIRECTORY COUNT               remove what `rename` left
  empty DIRECTORY                      remove every file of it
  sequential-read DIRECTORY FILE CALL  read a file in calls of so many bytes
  mapped-read DIRECTORY FILE           map a file and read every word
  random-read DIRECTORY FILE COUNT     read 4 KiB at random places
  write DIRECTORY FILE CALL BYTES      write a new file
  append-write DIRECTORY FILE CALL BYTES  the same at the end of a file that is there
  overwrite DIRECTORY FILE COUNT       write 4 KiB at random places of a file that is there
  run DIRECTORY COUNT PROGRAM ARGUMENT...  a program, with COUNT for its operations; its output is read and dropped
  mount DIRECTORY TARGET PROGRAM ARGUMENT...  a program that mounts something, until TARGET shows it
  make-tree DIRECTORY FILES PER-DIRECTORY BYTES [LIST]  not measured: files of up to BYTES, and a list of them
  make-file DIRECTORY FILE BYTES       not measured: a file without holes";

/// How long so many operations took.
struct Measured {
    nanoseconds: u128,
    operations: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.len() < 2 {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match run(&arguments) {
        Ok(Measured { nanoseconds, operations }) => {
            println!("{nanoseconds} {operations}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("bench-client: {}: {e:#}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Enters the directory and does the operation.
fn run(arguments: &[String]) -> Result<Measured> {
    let (share, arguments) = Share::take(arguments)?;
    let [operation, directory, rest @ ..] = arguments else { bail!("{USAGE}") };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    if let (None, Some(processes)) = (&share, processes(operation, &rest)?) {
        return share::among(processes, arguments);
    }
    let list = absolute_list(operation, &rest)?;
    std::env::set_current_dir(directory).with_context(|| format!("entering {directory}"))?;
    match (operation.as_str(), rest.as_slice()) {
        ("walk", []) => timed(|| walk::walk(walk::Stat::Each)),
        ("list", []) => timed(|| walk::walk(walk::Stat::None)),
        ("stat" | "missing" | "read" | "append", [_, ..]) => {
            let names = list::read(&list.context("a list is needed")?, share.as_ref())?;
            names::run(operation, &names, share)
        }
        ("create", [count, ..]) => entries::create(number(count)?, share),
        ("rename", [count]) => entries::rename(number(count)?),
        ("unlink", [count]) => entries::unlink(number(count)?),
        ("empty", []) => timed(walk::empty),
        ("sequential-read", [file, call]) => data::sequential_read(file, number(call)?),
        ("mapped-read", [file]) => data::mapped_read(file),
        ("random-read", [file, count]) => data::random_read(file, number(count)?),
        ("write", [file, call, bytes]) => data::write(file, data::Start::New, number(call)?, number(bytes)?),
        ("append-write", [file, call, bytes]) => {
            data::write(file, data::Start::AtEnd, number(call)?, number(bytes)?)
        }
        ("overwrite", [file, count]) => data::overwrite(file, number(count)?),
        ("run", [count, program, arguments @ ..]) => program::run(number(count)?, program, arguments),
        ("mount", [target, program, arguments @ ..]) => program::mount(target, program, arguments),
        ("make-tree", [files, each, bytes, ..]) => {
            make::tree(number(files)?, number(each)?, number(bytes)?, list.as_deref())
        }
        ("make-file", [file, bytes]) => make::file(file, number(bytes)?),
        _ => bail!("{USAGE}"),
    }
}

/// Among how many processes the operation is to be shared, where it is.
fn processes(operation: &str, rest: &[&str]) -> Result<Option<u64>> {
    match (operation, rest) {
        ("stat" | "read" | "create", [_, processes]) => number(processes).map(Some),
        _ => Ok(None),
    }
}

/// The path of the list that an operation takes, as seen from everywhere.
fn absolute_list(operation: &str, rest: &[&str]) -> Result<Option<std::path::PathBuf>> {
    let list = match (operation, rest) {
        ("stat" | "missing" | "read" | "append", [list, ..]) | ("make-tree", [_, _, _, list]) => list,
        _ => return Ok(None),
    };
    std::path::absolute(Path::new(list)).map(Some).with_context(|| format!("finding {list}"))
}

/// A number among the arguments.
fn number(text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("{text} is not a number"))
}

/// Does something once, which returns how many operations it was.
fn timed(operation: impl FnOnce() -> Result<u64>) -> Result<Measured> {
    let start = Instant::now();
    let operations = operation()?;
    Ok(Measured { nanoseconds: start.elapsed().as_nanos(), operations })
}
