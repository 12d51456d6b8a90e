//! The trees and files that are measured; the same bytes in every run.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::random::Random;
use crate::{Measured, timed};

/// Makes `files` files, `each` to a directory, ten directories to a directory above, and so two levels deep; sizes are
/// from 1 to `bytes`, or all 0 where that is 0.
pub fn tree(files: u64, each: u64, bytes: u64, list: Option<&Path>) -> Result<Measured> {
    ensure!(each > 0, "a directory holds at least one file");
    timed(|| {
        let mut random = Random::new();
        let mut content = vec![0; usize::try_from(bytes)?];
        fill(&mut content, &mut random);
        let mut list =
            list.map(|list| File::create(list).map(BufWriter::new)).transpose().context("making the list")?;
        for n in 0..files {
            let directory = format!("d{}/e{}", n / each / 10, n / each % 10);
            if n % each == 0 {
                fs::create_dir_all(&directory).with_context(|| format!("making {directory}"))?;
            }
            let name = format!("{directory}/f{n}");
            let size = if bytes == 0 { 0 } else { usize::try_from(1 + random.below(bytes))? };
            fs::write(&name, &content[..size]).with_context(|| format!("making {name}"))?;
            if let Some(list) = &mut list {
                writeln!(list, "{name}").context("writing the list")?;
            }
        }
        list.map_or(Ok(()), |mut list| list.flush()).context("writing the list")?;
        Ok(files)
    })
}

/// Makes a file without holes.
pub fn file(file: &str, bytes: u64) -> Result<Measured> {
    timed(|| {
        let mut output = File::create(file).with_context(|| format!("making {file}"))?;
        let mut piece = vec![0; 1 << 20];
        fill(&mut piece, &mut Random::new());
        let mut left = usize::try_from(bytes)?;
        while left > 0 {
            let length = left.min(piece.len());
            output.write_all(&piece[..length]).with_context(|| format!("writing {file}"))?;
            left -= length;
        }
        Ok(bytes)
    })
}

fn fill(bytes: &mut [u8], random: &mut Random) {
    for piece in bytes.chunks_mut(8) {
        let word = random.below(u64::MAX).to_le_bytes();
        piece.copy_from_slice(&word[..piece.len()]);
    }
}
