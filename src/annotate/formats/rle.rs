//! COCO's run-length encodings: lengths of runs that are off and on by turns, column by column, the first off; plain, or as
//! the text that pycocotools makes of them (five bits a character, from the third length on the difference to the one before the
//! last).

use crate::annotate::runs;
use crate::data::Mask;

fn turned(mask: &Mask) -> Mask {
    Mask::from_fn(mask.h, mask.w, |x, y| mask.get(y, x))
}

/// The lengths.
pub fn counts(mask: &Mask) -> Vec<u32> {
    runs::of(&turned(mask))
}

/// The mask of `w` × `h` pixels, or what is wrong.
pub fn mask(w: usize, h: usize, counts: &[u32]) -> Result<Mask, String> {
    Ok(turned(&runs::mask(h, w, counts)?))
}

/// The text of the lengths.
pub fn text(counts: &[u32]) -> String {
    let mut out = String::new();
    for (i, &n) in counts.iter().enumerate() {
        let mut x = n as i64 - if i > 2 { counts[i - 2] as i64 } else { 0 };
        loop {
            let bits = x & 0x1f;
            x >>= 5;
            let more = if bits & 0x10 != 0 { x != -1 } else { x != 0 };
            out.push((48 + bits as u8 + if more { 0x20 } else { 0 }) as char);
            if !more {
                break;
            }
        }
    }
    out
}

/// The lengths that a text says.
pub fn parse(text: &str) -> Result<Vec<u32>, String> {
    let mut counts: Vec<u32> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(mut c) = bytes.next() {
        let (mut x, mut shift) = (0i64, 0);
        loop {
            let bits = c.wrapping_sub(48);
            if bits > 0x3f || shift > 35 {
                return Err(format!("its text holds {:?}, which is no part of a run-length encoding", c as char));
            }
            x |= ((bits & 0x1f) as i64) << shift;
            shift += 5;
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 {
                    x |= -1 << shift;
                }
                break;
            }
            c = bytes.next().ok_or("its text breaks off")?;
        }
        if counts.len() > 2 {
            x += counts[counts.len() - 2] as i64;
        }
        counts.push(u32::try_from(x).map_err(|_| format!("a run of {x} pixels"))?);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths and texts by pycocotools (tests/golden/coco.py).
    #[test]
    fn as_pycocotools_has_it() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../../tests/golden/coco.json")).unwrap();
        let mut n = 0;
        for row in golden.as_array().unwrap() {
            let (w, h) = (row["w"].as_u64().unwrap() as usize, row["h"].as_u64().unwrap() as usize);
            let on = row["on"].as_str().unwrap().bytes().map(|b| b - b'0').collect();
            let m = Mask { w, h, on };
            let lengths: Vec<u32> = row["counts"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
            let said = row["text"].as_str().unwrap();
            assert_eq!((counts(&m), text(&lengths)), (lengths.clone(), said.to_string()), "{w} x {h}");
            assert_eq!((parse(said).unwrap(), mask(w, h, &lengths).unwrap()), (lengths, m), "{w} x {h}");
            n += 1;
        }
        assert_eq!(n, 11);
    }

    #[test]
    fn spoiled_texts_are_refused() {
        for (text, why) in
            [("2 ", "no part"), ("~", "no part"), ("2o", "breaks off"), ("ooooooooo0", "no part"), ("N", "a run of -2")]
        {
            let e = parse(text).unwrap_err();
            assert!(e.contains(why), "{text}: {e}");
        }
        assert!(mask(3, 2, &[1, 4]).unwrap_err().contains("are 6"));
    }
}
