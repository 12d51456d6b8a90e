//! Another program, from its start to its end.

use std::io::{self, ErrorKind, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::fs::stat;

use crate::{Measured, timed};

/// Runs it in the current directory; what it prints is read through a pipe and dropped. (tar reads no file where its
/// archive is /dev/null.)
pub fn run(operations: u64, program: &str, arguments: &[&str]) -> Result<Measured> {
    let mut buffer = vec![0; 1 << 20];
    timed(|| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
        if let Some(mut output) = child.stdout.take() {
            drain(&mut output, &mut buffer).with_context(|| format!("reading what {program} prints"))?;
        }
        let status = child.wait().with_context(|| format!("waiting for {program}"))?;
        ensure!(status.success(), "{program}: {status}");
        Ok(operations)
    })
}

/// Runs a program that mounts something at `target`, until it has ended and `target` shows what is mounted.
pub fn mount(target: &str, program: &str, arguments: &[&str]) -> Result<Measured> {
    let before = device(target)?;
    timed(|| {
        run(1, program, arguments)?;
        ensure!(device(target)? != before, "{program} ended well, but nothing is mounted at {target}");
        Ok(1)
    })
}

fn device(path: &str) -> Result<u64> {
    Ok(stat(path).with_context(|| format!("stat {path}"))?.st_dev)
}

fn drain(output: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match output.read(buffer) {
            Ok(0) => return Ok(()),
            Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
    }
}
