//! Runs the same random operations on two union file systems and compares everything that can be seen: results,
//! errors, merged trees, and what each makes of the upper directory the other has written.
//!
//! One process is one worker: the credentials of a process, its umask and its children (the daemons) belong to the
//! sequence it runs. The first process only starts the workers and adds up.

mod apply;
mod arguments;
mod generate;
mod handles;
mod known;
mod layers;
mod op;
mod sequence;
mod tree;
mod union;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use arguments::Arguments;
use sequence::Laboratory;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("overlayfs-diff: {message}");
            return ExitCode::from(2);
        }
    };
    let failed = match arguments.worker {
        Some(worker) => work(&arguments, worker),
        None => supervise(&arguments),
    };
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs this worker's share of the sequences; returns how many showed a difference.
fn work(arguments: &Arguments, worker: u64) -> u64 {
    let mut laboratory = Laboratory::new(arguments, worker);
    let mut failed = 0;
    let mut passed = 0;
    for number in arguments.sequences_of(worker) {
        match laboratory.run(number) {
            Ok(()) => passed += 1,
            Err(report) => {
                println!("{report}");
                failed += 1;
            }
        }
        if failed >= arguments.max_failures {
            println!("worker {worker}: stopping after {failed} differences");
            break;
        }
        if passed % 100 == 0 && passed > 0 {
            println!("worker {worker}: {passed} sequences equal, {failed} different");
        }
    }
    if let Err(report) = laboratory.finish() {
        println!("{report}");
        failed += 1;
    }
    println!("{RESULT} {passed} {failed}");
    failed
}

/// The line by which a worker reports its counts.
const RESULT: &str = "worker result:";

/// Starts the workers, passes their output on, prints the sum; returns the failures.
fn supervise(arguments: &Arguments) -> u64 {
    let executable = std::env::current_exe().expect("the path of this program");
    let readers: Vec<_> = (0..arguments.jobs)
        .map(|worker| {
            let mut child = Command::new(&executable)
                .args(std::env::args().skip(1))
                .args(["--worker", &worker.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .expect("starting a worker");
            let output = child.stdout.take().expect("a piped stdout");
            std::thread::spawn(move || {
                let mut counts = None;
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    match line.strip_prefix(RESULT) {
                        Some(rest) => counts = parse_counts(rest),
                        None => println!("{line}"),
                    }
                }
                let status = child.wait().expect("waiting for a worker");
                counts.unwrap_or_else(|| {
                    println!("worker {worker} ended without a result: {status}");
                    (0, 1)
                })
            })
        })
        .collect();
    let (mut passed, mut failed) = (0, 0);
    for reader in readers {
        let (p, f) = reader.join().expect("a reader thread");
        passed += p;
        failed += f;
    }
    println!("overlayfs-diff: {passed} passed, {failed} failed, 0 skipped (seed {})", arguments.seed);
    failed
}

fn parse_counts(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
