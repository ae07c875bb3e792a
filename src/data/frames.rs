//! Frames and pages of a file, counted by walking its blocks; nothing is decoded.
//!
//! The walk reads headers and skips contents, and ends at [`MOST`]: a count beyond it is told as "at least".

use std::io::{self, Read, Seek, SeekFrom};

use image::ImageFormat;

use super::note::{Kind, Note};

/// Most blocks that are looked at.
const MOST: u32 = 100_000;

/// The note about which frame was taken, where a file has more than one, or one that is not the animation's.
pub fn note(format: ImageFormat, file: &mut (impl Read + Seek)) -> Option<Note> {
    // A file whose blocks cannot be walked to the end is counted as far as the walk came; the decoder says whether it is damaged.
    let mut count = Count::default();
    let _ = match format {
        ImageFormat::Gif => gif(file, &mut count),
        ImageFormat::WebP => webp(file, &mut count),
        ImageFormat::Png => png(file, &mut count),
        ImageFormat::Tiff => tiff(file, &mut count),
        _ => return None,
    };
    let n = if count.blocks >= MOST { format!("at least {}", count.frames) } else { count.frames.to_string() };
    let text = match (format, count.frames) {
        (ImageFormat::Png, 0) => return None,
        (ImageFormat::Png, 1) if !count.apart => return None,
        (ImageFormat::Png, frames) if count.apart => format!(
            "an animation of {n} frame{} whose default picture is not part of it: the default picture was judged, no frame of the \
             animation",
            if frames == 1 { "" } else { "s" }
        ),
        (_, 0 | 1) => return None,
        (ImageFormat::Tiff, _) => {
            format!("a TIFF file of {n} pages: page 1 was judged (pages may be previews or masks of the first)")
        }
        _ => format!("an animation of {n} frames: frame 1 was judged"),
    };
    Some(Note::new(Kind::Frame, text))
}

#[derive(Default)]
struct Count {
    frames: u32,
    /// Blocks looked at.
    blocks: u32,
    /// APNG: the default picture is not a frame of the animation.
    apart: bool,
}

impl Count {
    fn block(&mut self) -> io::Result<()> {
        self.blocks += 1;
        if self.blocks < MOST { Ok(()) } else { Err(io::Error::other("too many blocks")) }
    }
}

fn take<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(file: &mut impl Seek, n: u64) -> io::Result<()> {
    file.seek_relative(i64::try_from(n).map_err(io::Error::other)?)
}

/// Image descriptors (0x2C) between extensions (0x21); data lie in sub-blocks, each with its length in front.
fn gif(file: &mut (impl Read + Seek), count: &mut Count) -> io::Result<()> {
    fn colours(flags: u8) -> u64 {
        if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 }
    }
    fn sub_blocks(file: &mut (impl Read + Seek)) -> io::Result<()> {
        loop {
            match take::<1>(file)?[0] {
                0 => return Ok(()),
                n => skip(file, n as u64)?,
            }
        }
    }
    file.seek(SeekFrom::Start(6))?;
    let screen = take::<7>(file)?;
    skip(file, colours(screen[4]))?;
    loop {
        count.block()?;
        match take::<1>(file)?[0] {
            0x2C => {
                let flags = take::<9>(file)?[8];
                skip(file, colours(flags) + 1)?; // and the least code size
                count.frames += 1;
                sub_blocks(file)?;
            }
            0x21 => {
                take::<1>(file)?;
                sub_blocks(file)?;
            }
            _ => return Ok(()), // the trailer 0x3B, or what follows a picture that is complete
        }
    }
}

/// RIFF chunks of even length; each frame is a chunk `ANMF`.
fn webp(file: &mut (impl Read + Seek), count: &mut Count) -> io::Result<()> {
    file.seek(SeekFrom::Start(12))?;
    loop {
        count.block()?;
        let head = take::<8>(file)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as u64;
        count.frames += (&head[..4] == b"ANMF") as u32;
        skip(file, length + length % 2)?;
    }
}

/// PNG chunks. `acTL` says how many frames there are; the default picture is the first frame only if an `fcTL` precedes `IDAT`.
fn png(file: &mut (impl Read + Seek), count: &mut Count) -> io::Result<()> {
    file.seek(SeekFrom::Start(8))?;
    let (mut said, mut own) = (false, false);
    loop {
        count.block()?;
        let head = take::<8>(file)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as u64;
        match &head[4..] {
            b"acTL" if length == 8 => {
                let of = take::<8>(file)?;
                count.frames = u32::from_be_bytes([of[0], of[1], of[2], of[3]]);
                said = true;
                skip(file, 4)?;
                continue;
            }
            b"fcTL" => own = true,
            b"IDAT" | b"IEND" => {
                count.apart = said && !own;
                return Ok(());
            }
            _ => {}
        }
        skip(file, length + 4)?; // and the checksum
    }
}

/// The chain of directories, classic (magic 42) or BigTIFF (43), either byte order. A chain that bites its tail ends there.
fn tiff(file: &mut (impl Read + Seek), count: &mut Count) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let head = take::<4>(file)?;
    let little = head[0] == b'I';
    let big = head[2..] == [43, 0] || head[2..] == [0, 43];
    let number = |bytes: &[u8]| {
        let add = |n: u64, &b: &u8| n << 8 | b as u64;
        if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    };
    let mut seen = std::collections::HashSet::new();
    if big {
        take::<4>(file)?; // the width of offsets, 8
    }
    loop {
        let at = if big { number(&take::<8>(file)?) } else { number(&take::<4>(file)?) };
        if at == 0 || !seen.insert(at) {
            return Ok(());
        }
        count.block()?;
        file.seek(SeekFrom::Start(at))?;
        let entries = if big { number(&take::<8>(file)?) } else { number(&take::<2>(file)?) };
        count.frames += 1;
        skip(file, entries.saturating_mul(if big { 20 } else { 12 }))?;
    }
}
