//! Mutants of small pictures of every format: reading them never panics, never hangs, never takes more memory than the limit.
//!
//! A few hundred in the gate. `LAE_FUZZ=10000 cargo test --test fuzz_pictures -- --nocapture` runs as many as that; a mutant that
//! fails is named by its number, and the same number is the same mutant.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use image::ExtendedColorType;
use lae_engine::core::rng::Rng;
use lae_engine::data::picture::{MAX_BYTES, Mask, Picture};
use lae_engine::data::procedural::photograph;

/// (name, bytes) of sound files.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e != "py"))
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), fs::read(p).unwrap()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let p = photograph(1, 3, 24).crop(0, 0, 24, 20);
    for name in ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.gif"] {
        image::save_buffer(dir.path().join(name), &p.rgb, 24, 20, ExtendedColorType::Rgb8).unwrap();
        seeds.push((name.into(), fs::read(dir.path().join(name)).unwrap()));
    }
    let rgba: Vec<u8> = p.rgb.chunks(3).flat_map(|c| [c[0], c[1], c[2], c[0]]).collect();
    for name in ["b.png", "b.bmp", "b.webp"] {
        image::save_buffer(dir.path().join(name), &rgba, 24, 20, ExtendedColorType::Rgba8).unwrap();
        seeds.push((name.into(), fs::read(dir.path().join(name)).unwrap()));
    }
    let icc = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut profiled = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut profiled, 80);
    image::ImageEncoder::set_icc_profile(&mut encoder, icc).unwrap();
    encoder.encode(&p.rgb, 24, 20, ExtendedColorType::Rgb8).unwrap();
    seeds.push(("profile.jpg".into(), profiled));
    seeds.push(("ascii.pbm".into(), b"P1 3 2\n0 1 1\n1 0 1\n".to_vec()));
    seeds.push(("a.pam".into(), b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\nabcdefgh".to_vec()));
    seeds.sort();
    seeds
}

fn mutate(bytes: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + rng.below(4) {
        let n = out.len().max(1);
        // Half of the mutations hit the header, where sizes and offsets stand.
        let at = if rng.below(2) == 0 { rng.below(n.min(64)) } else { rng.below(n) };
        match rng.below(8) {
            0 => out.truncate(at),
            1 if at < out.len() => out[at] ^= 1 << rng.below(8),
            2 if at < out.len() => out[at] = rng.below(256) as u8,
            3 if at < out.len() => out[at] = [0, 1, 0x7F, 0x80, 0xFF, 0xFE][rng.below(6)],
            4 if at + 4 <= out.len() => {
                let v = [0u32, 1, 0x7FFF_FFFF, u32::MAX, 0x10000, 29_999, 65_535][rng.below(7)];
                out[at..at + 4].copy_from_slice(&if rng.below(2) == 0 { v.to_le_bytes() } else { v.to_be_bytes() });
            }
            5 if at < out.len() => drop(out.drain(at..(at + 1 + rng.below(16)).min(n))),
            6 => {
                let from = rng.below(other.len());
                let piece = other[from..(from + 1 + rng.below(64)).min(other.len())].to_vec();
                out.splice(at.min(out.len())..at.min(out.len()), piece);
            }
            _ if at + 2 <= out.len() => {
                let v = rng.below(65_536) as u16;
                out[at..at + 2].copy_from_slice(&if rng.below(2) == 0 { v.to_le_bytes() } else { v.to_be_bytes() });
            }
            _ => {}
        }
    }
    out
}

/// Highest resident memory of this process, bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn mutants_are_read_or_refused() {
    let wanted: usize = std::env::var("LAE_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    // In the gate the time is bounded, not the number: what is left out is told.
    let limit = if std::env::var("LAE_FUZZ").is_ok() { Duration::from_secs(3600) } else { Duration::from_secs(15) };
    let (seeds, dir, begun) = (seeds(), tempfile::tempdir().unwrap(), Instant::now());
    let (mut read, mut masks, mut longest, mut tried) = (0, 0, (Duration::ZERO, 0, String::new()), 0);
    for i in 0..wanted {
        if begun.elapsed() > limit {
            println!("stopped after {i} of {wanted} mutants: {limit:?} are over");
            break;
        }
        let mut rng = Rng::new(14, 1, i as u64);
        let (name, bytes) = &seeds[i % seeds.len()];
        let other = &seeds[rng.below(seeds.len())].1;
        let mutant = mutate(bytes, other, &mut rng);
        let path = dir.path().join("mutant");
        fs::write(&path, &mutant).unwrap();
        let from = Instant::now();
        let outcome = std::panic::catch_unwind(|| {
            let picture = Picture::open_noted(&path);
            let mask = Mask::open_noted(&path);
            let _ = Picture::probe(&path);
            if let Ok(opened) = &picture {
                let p = &opened.picture;
                assert!(p.rgb.len() == p.w * p.h * 3 && opened.notes.iter().all(|n| !n.text.is_empty()));
            }
            if let Ok((m, _)) = &mask {
                assert!(m.on.len() == m.w * m.h && m.on.iter().all(|&v| v < 2));
            }
            for e in [picture.as_ref().err(), mask.as_ref().err()].into_iter().flatten() {
                assert!(e.to_string().contains("mutant"), "an error that does not name its file: {e}");
            }
            (picture.is_ok(), mask.is_ok())
        });
        let Ok((p, m)) = outcome else {
            let kept = std::env::temp_dir().join(format!("lae-mutant-{i}"));
            fs::write(&kept, &mutant).unwrap();
            panic!("mutant {i} of {name} panics; it is kept as {}", kept.display());
        };
        (read, masks, tried) = (read + p as usize, masks + m as usize, tried + 1);
        if from.elapsed() > longest.0 {
            longest = (from.elapsed(), i, name.clone());
        }
    }
    println!("{tried} mutants: {read} read as pictures, {masks} as masks, longest {longest:?}, in {:?}", begun.elapsed());
    assert!(tried > 100 && read > tried / 20 && read < tried, "{read} of {tried}");
    assert!(longest.0 < Duration::from_secs(20), "{longest:?}");
    #[cfg(target_os = "linux")]
    {
        println!("peak memory {} MiB", peak() >> 20);
        assert!(peak() < MAX_BYTES + (256 << 20));
    }
}
