//! One operation by several processes at once. The first process starts this program once for each; each prepares
//! itself, says so, waits for the word, and tells when it began and ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::Measured;

/// Before the operation in the arguments of a process that has a share.
const FLAG: &str = "--share";

/// Which part of the work a process does.
pub struct Share {
    /// From 0.
    pub part: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Share {
    /// Splits off the share that the arguments name.
    pub fn take(arguments: &[String]) -> Result<(Option<Share>, &[String])> {
        let [flag, part, of, rest @ ..] = arguments else { return Ok((None, arguments)) };
        if flag != FLAG {
            return Ok((None, arguments));
        }
        Ok((Some(Share { part: crate::number(part)?, of: crate::number(of)? }), rest))
    }
}

/// Does the operation once all processes are ready; alone, at once.
pub fn timed(share: Option<Share>, operation: impl FnOnce() -> Result<u64>) -> Result<Measured> {
    let Some(_) = share else { return crate::timed(operation) };
    println!("ready");
    std::io::stdin().read_exact(&mut [0]).context("waiting for the start")?;
    let start = now()?;
    let operations = operation()?;
    println!("{start} {} {operations}", now()?);
    Ok(Measured { nanoseconds: now()?.saturating_sub(start), operations })
}

/// Nanoseconds on a clock that all processes share.
fn now() -> Result<u128> {
    let time = clock_gettime(ClockId::Monotonic);
    Ok(u128::try_from(time.tv_sec)? * 1_000_000_000 + u128::try_from(time.tv_nsec)?)
}

/// A process with a share.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    fn start(part: u64, of: u64, arguments: &[String]) -> Result<Worker> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command.args([FLAG, &part.to_string(), &of.to_string()]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting a process")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("a process has no pipes");
        };
        Ok(Worker { child, stdin, stdout: BufReader::new(stdout) })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("reading from a process")?;
        Ok(line)
    }

    /// When it began and ended, and what it did.
    fn result(mut self) -> Result<(u128, u128, u64)> {
        let line = self.line()?;
        ensure!(self.child.wait().context("waiting for a process")?.success(), "a process failed");
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().context("a process said too little");
        Ok((next()?.parse()?, next()?.parse()?, next()?.parse()?))
    }
}

/// Has so many processes do the operation that the arguments name.
pub fn among(processes: u64, arguments: &[String]) -> Result<Measured> {
    ensure!(processes > 0, "at least one process is needed");
    let workers: Result<Vec<Worker>> =
        (0..processes).map(|part| Worker::start(part, processes, arguments)).collect();
    let mut workers = workers?;
    for worker in &mut workers {
        ensure!(worker.line()? == "ready\n", "a process was not ready");
    }
    for worker in &mut workers {
        worker.stdin.write_all(b"!").context("starting the operation")?;
    }
    let results: Result<Vec<_>> = workers.into_iter().map(Worker::result).collect();
    let results = results?;
    let start = results.iter().map(|(start, ..)| *start).min().unwrap_or_default();
    let end = results.iter().map(|(_, end, _)| *end).max().unwrap_or_default();
    Ok(Measured { nanoseconds: end - start, operations: results.iter().map(|(.., count)| count).sum() })
}
