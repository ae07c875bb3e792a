//! What the chunks of a PNG file say of its colours where it has no embedded profile: CICP codes, gamma, primaries.

use std::io::{self, Read, Seek, SeekFrom};

/// Most chunks before the pixels that are looked at.
const MOST: usize = 10_000;

/// What a file says. Of several the first of this order counts, as the specification has it: CICP codes, a profile, `sRGB`, gamma
/// and primaries.
#[derive(Clone, Debug, PartialEq)]
pub enum Colours {
    /// `cICP`: primaries, transfer, matrix, full range (ITU-T H.273).
    Cicp([u8; 4]),
    /// `gAMA`, times 100,000, and `cHRM`: x and y of white, red, green and blue, times 100,000.
    Gamma { gamma: Option<u32>, primaries: Option<[u32; 8]> },
}

/// CRC-32 as PNG has it, of a chunk's kind and content.
pub fn checksum(bytes: &[u8]) -> u32 {
    let bit = |c: u32| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 };
    !bytes.iter().fold(!0u32, |crc, &b| (0..8).fold(crc ^ b as u32, |c, _| bit(c)))
}

/// Reads the chunks before the pixels. None: nothing is said, or the values are sRGB by `sRGB`, or a profile counts.
pub fn colours(file: &mut (impl Read + Seek)) -> Option<Colours> {
    // A file whose chunks cannot be walked is damaged, which the decoder says.
    walk(file).ok().flatten()
}

fn walk(file: &mut (impl Read + Seek)) -> io::Result<Option<Colours>> {
    let (mut gamma, mut primaries, mut settled) = (None, None, false);
    file.seek(SeekFrom::Start(8))?;
    for _ in 0..MOST {
        let mut head = [0; 8];
        file.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = &head[4..];
        let wanted = matches!((kind, length), (b"cICP", 4) | (b"gAMA", 4) | (b"cHRM", 32) | (b"sRGB", 1));
        if !wanted {
            settled |= kind == b"iCCP";
            if kind == b"IDAT" || kind == b"IEND" {
                break;
            }
            file.seek_relative(length as i64 + 4)?;
            continue;
        }
        let mut content = vec![0; length + 4];
        file.read_exact(&mut content)?;
        let (content, sum) = content.split_at(length);
        // Decoders pass over damaged chunks of these kinds.
        if checksum(&[kind, content].concat()).to_be_bytes() != sum {
            continue;
        }
        let number = |i: usize| u32::from_be_bytes([content[4 * i], content[4 * i + 1], content[4 * i + 2], content[4 * i + 3]]);
        match kind {
            b"cICP" => return Ok(Some(Colours::Cicp([content[0], content[1], content[2], content[3]]))),
            b"gAMA" => gamma = Some(number(0)),
            b"cHRM" => primaries = Some(std::array::from_fn(number)),
            _ => settled = true,
        }
    }
    let said = !settled && (gamma.is_some() || primaries.is_some());
    Ok(said.then_some(Colours::Gamma { gamma, primaries }))
}
