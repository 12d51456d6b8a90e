//! The command line.

use std::path::PathBuf;

use crate::union::Program;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The reference, by default the kernel's overlayfs.
    pub left: Program,
    /// The file system under test.
    pub right: Program,
    /// How many sequences.
    pub sequences: u64,
    /// Operations in a sequence.
    pub operations: usize,
    /// All randomness comes from this and the number of the sequence.
    pub seed: u64,
    /// Run this sequence alone, and print each operation as it is done.
    pub only: Option<u64>,
    /// Sequences that share one pair of lower layers.
    pub batch: u64,
    /// Where layers and mount points are made.
    pub directory: PathBuf,
    /// Worker processes.
    pub jobs: u64,
    /// A worker stops after so many differences.
    pub max_failures: u64,
    /// Look for a shorter list of operations that shows a difference too.
    pub shrink: bool,
    /// Whether lower layers have hard links.
    pub lower_links: bool,
    /// Set in a worker process: its number.
    pub worker: Option<u64>,
}

impl Arguments {
    /// Parses `--name value` pairs.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut left, mut right) = ("kernel".to_owned(), None);
        let mut options = "redirect_dir=on,index=on,metacopy=on".to_owned();
        let (mut left_options, mut right_options) = (String::new(), String::new());
        let mut parsed = Self {
            left: Program::kernel(""),
            right: Program::kernel(""),
            sequences: 2000,
            operations: 50,
            seed: 1,
            only: None,
            batch: 20,
            directory: std::env::temp_dir(),
            jobs: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            max_failures: 5,
            shrink: false,
            lower_links: true,
            worker: None,
        };
        while let Some(name) = words.next() {
            if name == "--shrink" {
                parsed.shrink = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{name} wants a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} wants a number, not {value}"));
            match name.as_str() {
                "--left" => left = value,
                "--program" => right = Some(value),
                "--options" => options = value,
                "--left-options" => left_options = value,
                "--right-options" => right_options = value,
                "--sequences" => parsed.sequences = number()?,
                "--operations" => parsed.operations = number()? as usize,
                "--seed" => parsed.seed = number()?,
                "--only" => parsed.only = Some(number()?),
                "--batch" => parsed.batch = number()?.max(1),
                "--directory" => parsed.directory = PathBuf::from(value),
                "--jobs" => parsed.jobs = number()?.max(1),
                "--max-failures" => parsed.max_failures = number()?,
                "--lower-links" => parsed.lower_links = value != "no",
                "--worker" => parsed.worker = Some(number()?),
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        let right = right.ok_or("--program PROGRAM is wanted (or `kernel`)")?;
        parsed.left = Program::new(&left, &join(&options, &left_options));
        parsed.right = Program::new(&right, &join(&options, &right_options));
        if parsed.only.is_some() {
            parsed.jobs = 1;
        }
        Ok(parsed)
    }

    /// The numbers of the sequences a worker runs: whole batches in turn.
    pub fn sequences_of(&self, worker: u64) -> Vec<u64> {
        match self.only {
            Some(number) => vec![number],
            None => {
                (0..self.sequences).filter(|number| (number / self.batch) % self.jobs == worker).collect()
            }
        }
    }
}

fn join(first: &str, second: &str) -> String {
    [first, second].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
}
