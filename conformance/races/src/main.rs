//! Races on one mount; started by scripts/conformance/races.
//!
//! races make LOWER                          the files, in what will be the lower layer
//! races check LOWER                         nothing in it has changed
//! races run MERGED GROUP SECONDS LABEL      the scenarios of a group in turn, so long in all
//! races list                                the groups and their scenarios
//!
//! `run` prints a line for each scenario: `ok`, `FAILED` or `skipped`, and ends with 1 if one failed.

mod directories;
mod files;
mod mover;
mod scenario;
mod sys;
mod tree;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use scenario::{Stage, Verdict};
use tree::{Kind, Set, Shape};

struct Scenario {
    group: &'static str,
    name: &'static str,
    shape: Shape,
    play: fn(&mut Stage),
}

const fn shape(pairs: usize, kind: Kind) -> Shape {
    Shape { pairs, large: false, kind }
}

const SOME: Shape = shape(300, Kind::Files);
const MANY: Shape = shape(2000, Kind::Files);
const LARGE: Shape = Shape { pairs: 60, large: true, kind: Kind::Files };
const LINKED: Shape = shape(300, Kind::Linked);
const SYMLINKS: Shape = shape(300, Kind::Symlinks);
const DIRECTORIES: Shape = shape(60, Kind::Directories);

macro_rules! scenarios {
    ($($group:literal $name:literal $shape:ident $play:path;)*) => {
        &[$(Scenario { group: $group, name: $name, shape: $shape, play: $play },)*]
    };
}

const SCENARIOS: &[Scenario] = scenarios! {
    "open" "open-to-read" SOME files::open_to_read;
    "open" "open-to-write" MANY files::open_to_write;
    "open" "open-to-truncate" SOME files::open_to_truncate;
    "open" "open-large-to-write" LARGE files::open_to_write;
    "open" "open-again" SOME files::open_again;
    "data" "pread" SOME files::pread;
    "data" "pread-to-and-fro" SOME files::pread_to_and_fro;
    "data" "pwrite" SOME files::pwrite;
    "data" "pwrite-to-and-fro" SOME files::pwrite_to_and_fro;
    "data" "direct-read" LARGE files::direct;
    "data" "fallocate" SOME files::fallocate;
    "data" "copy-out" SOME files::copy_out;
    "data" "copy-in" SOME files::copy_in;
    "attributes" "fstat" SOME files::fstat;
    "attributes" "fstat-to-and-fro" SOME files::fstat_to_and_fro;
    "attributes" "getxattr" SOME files::get_xattr;
    "attributes" "setxattr" SOME files::set_xattr;
    "attributes" "chmod" SOME files::chmod;
    "attributes" "utimens" SOME files::times;
    "attributes" "truncate" SOME files::truncate;
    "names" "readlink" SYMLINKS files::readlink;
    "names" "link-held" SOME files::link_held;
    "names" "link-by-name" SOME files::link_by_name;
    "names" "hard-links" LINKED files::linked;
    "names" "unlink" SOME files::unlink;
    "names" "replace" SOME files::replace;
    "directories" "directories" DIRECTORIES directories::exchange;
    "directories" "directories-to-and-fro" DIRECTORIES directories::to_and_fro;
    "directories" "made-directories" DIRECTORIES directories::exchange;
    "directories" "made-directories-to-and-fro" DIRECTORIES directories::to_and_fro;
};

impl Scenario {
    /// Directories that the mount is asked to make: they are the upper's from the first.
    fn is_made(&self) -> bool {
        self.name.starts_with("made-")
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["make", lower] => make(Path::new(lower)).expect("making the files"),
        ["check", lower] => return check(Path::new(lower)),
        ["run", merged, group, seconds, label] => {
            let seconds = seconds.parse().expect("a number of seconds");
            return run(Path::new(merged), group, seconds, label);
        }
        ["list"] => SCENARIOS.iter().for_each(|s| println!("{} {}", s.group, s.name)),
        _ => {
            eprintln!("usage: races make|check LOWER, races run MERGED GROUP SECONDS LABEL, races list");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn make(lower: &Path) -> std::io::Result<()> {
    std::fs::create_dir(lower.join("scratch"))?;
    directories::make_others(&lower.join("others"))?;
    for scenario in SCENARIOS.iter().filter(|scenario| !scenario.is_made()) {
        scenario.shape.make(&lower.join(scenario.name))?;
    }
    Ok(())
}

fn check(lower: &Path) -> ExitCode {
    let mut wrong = 0;
    for scenario in SCENARIOS.iter().filter(|s| matches!(s.shape.kind, Kind::Files | Kind::Linked)) {
        let mut set = Set::new(&lower.join(scenario.name), scenario.shape);
        for pair in 0..scenario.shape.pairs {
            if let Err(fault) = set.learn(pair).and_then(|()| set.audit(pair)) {
                println!("the lower layer was changed: {}/{pair}: {}", scenario.name, fault.what);
                wrong += 1;
            }
        }
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(merged: &Path, group: &str, seconds: f64, label: &str) -> ExitCode {
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|s| s.group == group || s.name == group).collect();
    let budget = Duration::from_secs_f64(seconds / chosen.len().max(1) as f64);
    let mut failed = false;
    for scenario in chosen {
        let title = format!("{}, {label}", scenario.name);
        match play(scenario, merged, budget) {
            Verdict::Skipped(why) => println!("skipped {title}: {why}"),
            Verdict::Ran(tally) => {
                let figures = format!("{} times, {} moves, {} wrong", tally.done, tally.moved, tally.wrong);
                println!("{} {title}: {figures}", if tally.wrong == 0 { "ok     " } else { "FAILED " });
                tally.first.iter().for_each(|what| println!("            {what}"));
                failed |= tally.wrong > 0;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn play(scenario: &Scenario, merged: &Path, budget: Duration) -> Verdict {
    let directory = merged.join(scenario.name);
    if scenario.is_made() {
        if let Err(error) = scenario.shape.make(&directory) {
            let mut tally = scenario::Tally::default();
            tally.count(Err(sys::Fault::new(format!("making the directories: {error}"))));
            return Verdict::Ran(tally);
        }
    } else if scenario.shape.kind == Kind::Directories {
        // Without redirects a directory of a lower cannot be renamed at all.
        let (one, other) = (directory.join("a0"), directory.join("c0"));
        match sys::exchange(&one, &other).and_then(|()| sys::exchange(&one, &other)) {
            Err(fault) if fault.errno == libc::EXDEV => {
                return Verdict::Skipped("no redirect_dir".to_owned());
            }
            _ => {}
        }
    }
    let scratch = merged.join("scratch");
    let mut stage = Stage::new(&directory, scenario.shape, &scratch, budget);
    (scenario.play)(&mut stage);
    stage.verdict()
}
