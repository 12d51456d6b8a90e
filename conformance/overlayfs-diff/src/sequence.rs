//! One sequence: two fresh uppers over the same lowers, the operations on both, the comparisons.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::io::Errno;

use crate::apply::{Outcome, Side};
use crate::arguments::Arguments;
use crate::generate::Generator;
use crate::known;
use crate::layers;
use crate::op::{Op, Step};
use crate::tree::Tree;
use crate::union::{self, Layout, Mount, Program};

/// Differences printed of one comparison of trees.
const SHOWN: usize = 12;

/// What a worker keeps between sequences: its directory and the lower layers of the batch.
pub struct Laboratory {
    arguments: Arguments,
    directory: PathBuf,
    batch: Option<u64>,
    /// The lowers as they were made, and where they are.
    lowers: Vec<(PathBuf, Tree)>,
}

/// A difference, with everything needed to see it again.
pub struct Report {
    arguments: Arguments,
    number: u64,
    steps: Vec<Step>,
    what: String,
    shrunk: bool,
}

impl Laboratory {
    /// Makes the worker's directory.
    pub fn new(arguments: &Arguments, worker: u64) -> Self {
        let directory = arguments.directory.join(format!("worker-{worker}"));
        fs::create_dir_all(&directory).expect("a directory to work in");
        union::adopt_daemons().expect("being the parent of the daemons");
        Self { arguments: arguments.clone(), directory, batch: None, lowers: Vec::new() }
    }

    /// Runs the sequence of this number.
    pub fn run(&mut self, number: u64) -> Result<(), Report> {
        self.change_batch(number)?;
        let mut rng =
            ChaCha8Rng::seed_from_u64(self.arguments.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let umask = [0o022, 0o000, 0o077, 0o027][rng.random_range(0..4)];
        let turns: Vec<Option<Op>> = (0..self.arguments.operations).map(|_| turn(&mut rng)).collect();
        let mut run = Run::start(self, umask).map_err(|what| self.report(number, Vec::new(), what))?;
        let mut generator = Generator::new(rng, &run.first_tree);
        let mut steps = Vec::new();
        for turn in turns {
            let step = turn.map_or_else(|| generator.next(), |op| Step { op, actor: 0 });
            steps.push(step.clone());
            if self.arguments.only.is_some() {
                println!("{:3} {step}", steps.len());
            }
            match run.step(&step) {
                Ok(outcome) => {
                    if self.arguments.only.is_some() {
                        println!("      {outcome:?}");
                    }
                    generator.learn(&step.op, &outcome);
                }
                Err(what) => {
                    drop(run);
                    return Err(self.shrink(number, umask, steps, what));
                }
            }
        }
        if let Err(what) = run.finish() {
            return Err(self.shrink(number, umask, steps, what));
        }
        Ok(())
    }

    /// The last check: nobody wrote into a lower layer.
    pub fn finish(&mut self) -> Result<(), Report> {
        self.check_lowers(self.batch.unwrap_or(0) * self.arguments.batch)
    }

    fn report(&self, number: u64, steps: Vec<Step>, what: String) -> Report {
        Report { arguments: self.arguments.clone(), number, steps, what, shrunk: false }
    }

    fn change_batch(&mut self, number: u64) -> Result<(), Report> {
        let batch = number / self.arguments.batch;
        if self.batch == Some(batch) {
            return Ok(());
        }
        self.check_lowers(number)?;
        self.make_lowers(batch)
            .map_err(|error| self.report(number, Vec::new(), format!("making layers: {error}")))?;
        self.batch = Some(batch);
        Ok(())
    }

    fn make_lowers(&mut self, batch: u64) -> Result<(), String> {
        let mut rng =
            ChaCha8Rng::seed_from_u64(self.arguments.seed.wrapping_mul(7_000_003).wrapping_add(batch));
        self.lowers.clear();
        rustix::process::umask(rustix::fs::Mode::empty());
        let (top, bottom) = (self.directory.join("lower-1"), self.directory.join("lower-2"));
        for (path, below) in [(&bottom, None), (&top, Some(bottom.as_path()))] {
            empty_directory(path).map_err(|error| error.to_string())?;
            layers::fill(path, below, self.arguments.lower_links, &mut rng)
                .map_err(|error| error.to_string())?;
        }
        // In the order of `lowerdir`: the top one first.
        self.lowers = [top, bottom].map(|path| (path.clone(), Tree::read(&path, i64::MAX))).into();
        Ok(())
    }

    fn check_lowers(&self, number: u64) -> Result<(), Report> {
        for (path, before) in &self.lowers {
            let differences = before.differences(&Tree::read(path, i64::MAX), SHOWN);
            if !differences.is_empty() {
                let what = format!(
                    "a lower layer was written in the batch before this sequence: {}\n{}",
                    path.display(),
                    differences.join("\n")
                );
                return Err(self.report(number, Vec::new(), what));
            }
        }
        Ok(())
    }

    /// Leaves out steps, from the last to the first, as long as some difference shows.
    fn shrink(&self, number: u64, umask: u32, steps: Vec<Step>, what: String) -> Report {
        let mut report = self.report(number, steps, what);
        if !self.arguments.shrink {
            return report;
        }
        let Some(what) = self.replay(umask, &report.steps) else { return report };
        report.what = what;
        report.shrunk = true;
        loop {
            let before = report.steps.len();
            for index in (0..report.steps.len()).rev() {
                let mut fewer = report.steps.clone();
                fewer.remove(index);
                if let Some(what) = self.replay(umask, &fewer) {
                    report.steps = fewer;
                    report.what = what;
                }
            }
            if report.steps.len() == before {
                return report;
            }
        }
    }

    fn replay(&self, umask: u32, steps: &[Step]) -> Option<String> {
        let mut run = match Run::start(self, umask) {
            Ok(run) => run,
            Err(what) => return Some(what),
        };
        for step in steps {
            if let Err(what) = run.step(step) {
                return Some(what);
            }
        }
        run.finish().err()
    }
}

/// One turn in 40 remounts, a third of them with the uppers swapped; every other one is the generator's.
fn turn(rng: &mut ChaCha8Rng) -> Option<Op> {
    match rng.random_range(0..120) {
        0 => Some(Op::Cross),
        1..3 => Some(Op::Remount),
        _ => None,
    }
}

/// The two sides while a sequence runs; index 0 is the reference.
struct Run {
    programs: [Program; 2],
    /// Whose upper is which changes when they are crossed.
    layouts: [Layout; 2],
    /// Before the mounts, as open files keep a mount alive and the fields are dropped in this order.
    sides: [Side; 2],
    mounts: Option<[Mount; 2]>,
    started: i64,
    first_tree: Tree,
}

impl Run {
    fn start(laboratory: &Laboratory, umask: u32) -> Result<Self, String> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64) - 2;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let layouts = [layout(laboratory, "left")?, layout(laboratory, "right")?];
        // The daemon inherits it, and must not care.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let programs = [laboratory.arguments.left.clone(), laboratory.arguments.right.clone()];
        let sides = [Side::new(&layouts[0].merged, started), Side::new(&layouts[1].merged, started)];
        let mut run = Self { programs, layouts, mounts: None, sides, started, first_tree: Tree::default() };
        run.mount()?;
        run.first_tree = run.compare_trees("before the first operation")?;
        Ok(run)
    }

    fn step(&mut self, step: &Step) -> Result<crate::apply::Outcome, String> {
        match step.op {
            Op::Remount => self.remount(false)?,
            Op::Cross => self.remount(true)?,
            _ => {}
        }
        let left = self.sides[0].apply(step);
        let right = self.sides[1].apply(step);
        if left.agrees_with(&right) {
            if let (Op::Rename { from, to, .. }, Outcome::Error(_)) = (&step.op, &left) {
                self.level_after_failed_rename(&[from, to])?;
            }
            return Ok(left);
        }
        if let (Some(slot), Outcome::Error(Errno::EXIST), Outcome::Done) =
            (crate::handles::changed(&step.op), &left, &right)
            && known::passes(known::Fact::ChangingUnlinked)
        {
            self.sides.iter_mut().for_each(|side| side.close_handle(slot));
            return Ok(left);
        }
        Err(format!(
            "{step}\n  {:>14}: {left:?}\n  {:>14}: {right:?}",
            self.programs[0].name(),
            self.programs[1].name()
        ))
    }

    /// Known difference [`known::Fact::MtimeAfterFailedRename`]: where one side has given a directory of the rename a
    /// new time, both get the same one. Nothing else is let pass.
    fn level_after_failed_rename(&self, paths: &[&String]) -> Result<(), String> {
        if !known::passes(known::Fact::MtimeAfterFailedRename) {
            return Ok(());
        }
        for parent in paths.iter().filter_map(|path| Path::new(path).parent()) {
            let directories = [0, 1].map(|side: usize| self.layouts[side].merged.join(parent));
            let times = directories.each_ref().map(|path| {
                let found = fs::symlink_metadata(path).ok().filter(|found| found.is_dir());
                found.map(|found| found.mtime())
            });
            let [Some(one), Some(other)] = times else { continue };
            if (one < self.started) != (other < self.started) {
                for path in directories {
                    level_time(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), String> {
        self.remount(true)?;
        self.unmount()
    }

    /// Unmounts both and mounts them again; where `swap` is set, each on what the other has written.
    fn remount(&mut self, swap: bool) -> Result<(), String> {
        let before = self.compare_trees("while mounted")?;
        self.unmount()?;
        if swap {
            let [left, right] = &mut self.layouts;
            std::mem::swap(&mut left.upper, &mut right.upper);
            std::mem::swap(&mut left.work, &mut right.work);
        }
        self.mount()?;
        for index in 0..2 {
            let after = Tree::read(&self.layouts[index].merged, self.started);
            let differences = before.differences(&after, SHOWN);
            if !differences.is_empty() {
                let whose = if swap { 1 - index } else { index };
                return Err(format!(
                    "the upper written by {} shows another tree when mounted again by {} (before <> after):\n  {}",
                    self.programs[whose].name(),
                    self.programs[index].name(),
                    differences.join("\n  ")
                ));
            }
        }
        Ok(())
    }

    fn mount(&mut self) -> Result<(), String> {
        let left = Mount::new(&self.programs[0], &self.layouts[0])?;
        let right = Mount::new(&self.programs[1], &self.layouts[1])?;
        self.mounts = Some([left, right]);
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        self.sides.iter_mut().for_each(Side::close_handles);
        let Some(mounts) = self.mounts.take() else { return Ok(()) };
        mounts.into_iter().try_for_each(Mount::unmount)
    }

    fn compare_trees(&self, when: &str) -> Result<Tree, String> {
        let left = Tree::read(&self.layouts[0].merged, self.started);
        let right = Tree::read(&self.layouts[1].merged, self.started);
        let differences = left.differences(&right, SHOWN);
        if differences.is_empty() {
            return Ok(left);
        }
        Err(format!(
            "the merged trees differ {when} ({} <> {}):\n  {}",
            self.programs[0].name(),
            self.programs[1].name(),
            differences.join("\n  ")
        ))
    }
}

/// Sets a directory's modification time to a fixed one.
fn level_time(path: &Path) -> Result<(), rustix::io::Errno> {
    let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
}

/// Fresh directories for one side.
fn layout(laboratory: &Laboratory, name: &str) -> Result<Layout, String> {
    let base = laboratory.directory.join(name);
    let layout = Layout {
        lowers: laboratory.lowers.iter().map(|(path, _)| path.clone()).collect(),
        upper: base.join("upper"),
        work: base.join("work"),
        merged: base.join("merged"),
    };
    empty_directory(&base).map_err(|error| error.to_string())?;
    for directory in [&layout.upper, &layout.work, &layout.merged] {
        fs::create_dir(directory).map_err(|error| error.to_string())?;
    }
    Ok(layout)
}

fn empty_directory(path: &Path) -> Result<(), std::io::Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(path)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "DIFFERENCE in sequence {} of seed {}", self.number, self.arguments.seed)?;
        writeln!(f, "{}", self.what)?;
        writeln!(f, "to see it again: --seed {} --only {}", self.arguments.seed, self.number)?;
        if self.steps.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "the operations{}:",
            if self.shrunk { ", those that do not matter left out" } else { "" }
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:4} {step}", index + 1)?;
        }
        Ok(())
    }
}
