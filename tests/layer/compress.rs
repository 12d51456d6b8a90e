//! Compression of layers: what is written is read back, the same bytes come of the same input, and damage shows.

use std::io::{self, Read, Write};

use plyfs::layer::compress::{Compressor, Format, decompress};
use plyfs::oci::media_type::Compression;

const MIB: usize = 1 << 20;

/// Bytes that compress a little, the same on each call.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        let word = next();
        let run = (word >> 8) as usize % 24 + 1;
        bytes.extend(std::iter::repeat_n((word & 0x3f) as u8, run));
        // What cannot be compressed, too: longer than a stored block of deflate.
        if word % 32768 == 1 {
            bytes.extend((0..70_000).map(|_| (next() >> 8) as u8));
        }
    }
    bytes.truncate(length);
    bytes
}

fn compress(input: &[u8], how: Compression, workers: usize, piece: usize) -> Vec<u8> {
    let mut out = Compressor::with_workers(Vec::new(), how, workers).expect("begun");
    for piece in input.chunks(piece) {
        out.write_all(piece).expect("written");
    }
    out.finish().expect("finished")
}

fn read(bytes: &[u8]) -> io::Result<(Format, Vec<u8>)> {
    let (format, mut reader) = decompress(bytes)?;
    let mut read = Vec::new();
    reader.read_to_end(&mut read)?;
    Ok((format, read))
}

/// What the xz program makes of [`xz_one`].
const XZ_ONE: &[u8] = b"\
    \xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x0c\x00\x00\x00\x8f\x98\x41\x9c\
    \xe0\x02\x82\x00\x1e\x5d\x00\x18\x0c\x42\x92\x6a\x67\xbc\x0e\xd1\x33\x2c\xe4\xcc\x42\x29\xc0\x9c\
    \x4a\x8f\x7e\xff\xb6\x12\x67\x7e\x04\x03\x96\xa9\x00\x00\x00\x00\x17\xb9\x8d\x61\xee\xa0\x0c\x43\
    \x00\x01\x3a\x83\x05\x00\x00\x00\x66\xca\x2c\xa7\xb1\xc4\x67\xfb\x02\x00\x00\x00\x00\x04\x59\x5a";

/// What it makes of `second`.
const XZ_TWO: &[u8] = b"\
    \xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x0c\x00\x00\x00\x8f\x98\x41\x9c\
    \x01\x00\x05\x73\x65\x63\x6f\x6e\x64\x00\x00\x00\x38\xe8\x88\xc5\xc6\x30\xb4\x74\x00\x01\x1e\x06\
    \xc1\x2f\xa4\x1d\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a";

fn xz_one() -> Vec<u8> {
    [&b"0123456789abcdef".repeat(40)[..], b"one"].concat()
}

fn bzip2(input: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    out.write_all(input).expect("written");
    out.finish().expect("finished")
}

#[test]
fn what_is_written_is_read_back() {
    for (how, format) in [
        (Compression::None, Format::Plain),
        (Compression::Gzip, Format::Gzip),
        (Compression::Zstd, Format::Zstd),
    ] {
        for length in [0, 1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB + 77] {
            let input = sample(length);
            let compressed = compress(&input, how, 2, 64 * 1024);
            let (found, output) = read(&compressed).expect("readable");
            assert!(output == input, "{how:?}, {length} bytes");
            assert!(found == format || length == 0, "{how:?}, {length} bytes");
            assert!(how == Compression::None || length < 1000 || compressed.len() < length);
        }
    }
}

#[test]
fn the_bytes_depend_neither_on_the_cores_nor_on_the_writes() {
    let input = sample(9 * MIB + 4321);
    for how in [Compression::Gzip, Compression::Zstd] {
        let expected = compress(&input, how, 1, input.len());
        for (workers, piece) in [(2, 7777), (7, 1_000_003)] {
            let compressed = compress(&input, how, workers, piece);
            assert!(compressed == expected, "{how:?}, {workers} workers, writes of {piece}");
        }
        let mut flushed = Compressor::new(Vec::new(), how).expect("begun");
        for piece in input.chunks(MIB / 3) {
            flushed.write_all(piece).expect("written");
            flushed.flush().expect("flushed");
        }
        assert!(flushed.finish().expect("finished") == expected, "{how:?}, flushed");
    }
}

#[test]
fn gzip_is_one_member_without_time_or_system() {
    let compressed = compress(&sample(3 * MIB), Compression::Gzip, 2, MIB);
    assert_eq!(compressed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut single = flate2::bufread::GzDecoder::new(&compressed[..]);
    let mut output = Vec::new();
    single.read_to_end(&mut output).expect("readable");
    assert!(output == sample(3 * MIB));
    assert!(single.into_inner().is_empty());
}

#[test]
fn members_frames_and_streams_are_read_through() {
    let (one, two) = (sample(100_000), b"second".to_vec());
    let whole = [&one[..], &two].concat();
    let gzip = |input: &[u8]| compress(input, Compression::Gzip, 1, MIB);
    let zstd = |input: &[u8]| compress(input, Compression::Zstd, 1, MIB);
    let skippable = [b"\x50\x2a\x4d\x18\x03\0\0\0abc", &zstd(&one)[..], &zstd(&two)].concat();
    for (bytes, format) in [
        ([gzip(&one), gzip(&two)].concat(), Format::Gzip),
        ([zstd(&one), zstd(&two)].concat(), Format::Zstd),
        (skippable, Format::Zstd),
        ([bzip2(&one), bzip2(&two)].concat(), Format::Bzip2),
    ] {
        let (found, output) = read(&bytes).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        assert_eq!(found, format);
        assert!(output == whole, "{format:?}: {} of {} bytes", output.len(), whole.len());
    }
    let (found, output) = read(&[XZ_ONE, XZ_TWO].concat()).expect("readable");
    assert_eq!((found, output), (Format::Xz, [xz_one(), two].concat()));
}

#[test]
fn truncated_input_is_an_error() {
    let input = sample(200_000);
    for bytes in [
        compress(&input, Compression::Gzip, 1, MIB),
        compress(&input, Compression::Zstd, 1, MIB),
        XZ_ONE.to_vec(),
        bzip2(&input),
    ] {
        for kept in [12, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
            let result = read(&bytes[..kept]);
            assert!(result.is_err(), "{kept} of {} bytes of {:?}", bytes.len(), result.map(|r| r.0));
        }
    }
}

#[test]
fn damaged_input_is_an_error_and_never_a_panic() {
    let input = sample(20_000);
    for bytes in [
        compress(&input, Compression::Gzip, 1, MIB),
        compress(&input, Compression::Zstd, 1, MIB),
        XZ_ONE.to_vec(),
        bzip2(&input),
    ] {
        let input = if bytes == XZ_ONE { xz_one() } else { input.clone() };
        for at in (10..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            if let Ok((format, output)) = read(&damaged) {
                assert!(output == input, "{format:?}, byte {at}");
            }
        }
    }
}

#[test]
fn a_window_beyond_the_limit_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("begun");
    encoder.window_log(28).expect("a window");
    encoder.write_all(b"x").expect("written");
    encoder.flush().expect("flushed");
    encoder.write_all(&sample(100_000)).expect("written");
    let bytes = encoder.finish().expect("finished");
    assert!(read(&bytes).is_err());
}

/// Takes `room` bytes and then fails.
struct Full {
    room: usize,
}

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.room.min(buf.len()) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            taken => {
                self.room -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_output_is_never_a_success() {
    let input = sample(6 * MIB);
    for how in [Compression::None, Compression::Gzip, Compression::Zstd] {
        for room in [0, 9, 10, 1000, MIB / 4] {
            let result = Compressor::with_workers(Full { room }, how, 2).and_then(|mut out| {
                out.write_all(&input)?;
                out.finish()
            });
            let error = result.err().unwrap_or_else(|| panic!("{how:?} with {room} bytes"));
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{how:?} with {room} bytes");
        }
    }
}

#[test]
fn after_a_failed_write_there_is_no_stream() {
    for how in [Compression::Gzip, Compression::Zstd] {
        let mut out = Compressor::with_workers(Full { room: 100 }, how, 2).expect("begun");
        let block = sample(MIB);
        let failed = (0..100).any(|_| out.write_all(&block).is_err());
        assert!(failed && out.write(b"x").is_err() && out.finish().is_err(), "{how:?}");
    }
}
