//! Recognising a compressed stream by its first bytes, and reading it.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::oci::media_type::Compression;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// bzip2.
    Bzip2,
    /// The .xz file format.
    Xz,
}

/// As many bytes as tell any two formats apart.
const MAGIC: usize = 10;
/// Compressed bytes are read in pieces of this size.
const BUFFER: usize = 128 * 1024;
/// The largest zstd window: 128 MiB, what the zstd program accepts by default.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What decoding an xz stream may take; its highest level needs 65 MiB.
const XZ_MEMORY_KIB: u32 = 256 * 1024;

/// Recognises a stream's compression by its first bytes, and undoes it. Several members, frames or streams
/// one after the other are read through.
///
/// # Errors
/// Those of `input`. The returned reader fails on damaged or truncated input, on bytes after the last member
/// that are none, on a zstd window of more than 128 MiB, and on xz that needs more than 256 MiB of memory.
pub fn decompress<'a>(mut input: impl Read + 'a) -> io::Result<(Format, Box<dyn Read + 'a>)> {
    let mut magic = Vec::with_capacity(MAGIC);
    input.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    let format = Format::of(&magic);
    let whole = Cursor::new(magic).chain(input);
    if format == Format::Plain {
        return Ok((format, Box::new(whole)));
    }
    let buffered = BufReader::with_capacity(BUFFER, whole);
    let reader: Box<dyn Read + 'a> = match format {
        Format::Plain => Box::new(buffered),
        Format::Gzip => Box::new(MultiGzDecoder::new(buffered)),
        Format::Bzip2 => Box::new(MultiBzDecoder::new(buffered)),
        Format::Xz => Box::new(XzReader::new_mem_limit(buffered, true, XZ_MEMORY_KIB)),
        Format::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(buffered)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    Ok((format, reader))
}

impl Format {
    /// The compression of a layer in this format; `None` for one that layers do not have.
    pub fn of_layer(self) -> Option<Compression> {
        match self {
            Format::Plain => Some(Compression::None),
            Format::Gzip => Some(Compression::Gzip),
            Format::Zstd => Some(Compression::Zstd),
            Format::Bzip2 | Format::Xz => None,
        }
    }

    /// The format of a stream that begins with `magic`.
    pub fn of(magic: &[u8]) -> Format {
        match magic {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            // The header, and the magic number of a block or of the end: a tar may begin with `BZh`.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90] => Format::Bzip2,
            _ => Format::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart_by_their_first_bytes() {
        let table: [(&[u8], Format); 9] = [
            (b"", Format::Plain),
            (b"\x1f", Format::Plain),
            (b"\x1f\x8b", Format::Gzip),
            (b"\x28\xb5\x2f\xfd", Format::Zstd),
            (b"\x53\x2a\x4d\x18", Format::Zstd),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"BZh91AY&SY", Format::Bzip2),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Format::Bzip2),
            (b"BZh9.txt\0\0", Format::Plain),
        ];
        for (magic, format) in table {
            assert_eq!(Format::of(magic), format, "{magic:?}");
        }
    }

    #[test]
    fn plain_bytes_pass_through() {
        for text in [&b""[..], b"x", b"0123456789", b"0123456789a"] {
            let (format, mut reader) = decompress(text).expect("readable");
            let mut read = Vec::new();
            reader.read_to_end(&mut read).expect("readable");
            assert_eq!((format, &read[..]), (Format::Plain, text));
        }
    }
}
