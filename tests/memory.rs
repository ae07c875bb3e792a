//! Memory that reading pictures takes: counted by the allocator, held to what was promised, over all threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use image::ExtendedColorType;
use lae_engine::data::picture::{MAX_BYTES, Mask, Picture};

struct Counting;

static NOW: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

fn count(by: i64) {
    MOST.fetch_max(NOW.fetch_add(by, SeqCst) + by, SeqCst);
}

// SAFETY: every call goes to the system's allocator as it came; the counters are no part of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // A block that moves is there twice; one that shrinks stays where it is.
        let more = (size as i64 - layout.size() as i64).max(0);
        count(more);
        let new = unsafe { System.realloc(at, layout, size) };
        count(size as i64 - layout.size() as i64 - more);
        new
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that were allocated beyond those before.
fn most<T>(f: impl FnOnce() -> T) -> (T, u64) {
    let before = NOW.load(SeqCst);
    MOST.store(before, SeqCst);
    let result = f();
    (result, (MOST.load(SeqCst) - before).max(0) as u64)
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Files of 2 megapixels in every format, and the orientation that needs a copy.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (w, h) = (1800u32, 1200u32);
    let rgb: Vec<u8> = (0..w * h).flat_map(|i| [(i % 251) as u8, (i / w % 256) as u8, (i / 7 % 64) as u8]).collect();
    let rgba: Vec<u8> = rgb.chunks(3).flat_map(|p| [p[0], p[1], p[2], p[0] / 2 + 100]).collect();
    let grey: Vec<u8> = rgb.chunks(3).map(|p| p[0]).collect();
    let deep: Vec<u8> = rgba.iter().flat_map(|&v| [v, v]).collect();
    let mut all = Vec::new();
    let mut save = |name: &str, data: &[u8], color| {
        let path = dir.join(name);
        image::save_buffer(&path, data, w, h, color).unwrap();
        all.push(path);
    };
    for name in ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.ppm", "a.gif"] {
        save(name, &rgb, ExtendedColorType::Rgb8);
    }
    for name in ["b.png", "b.webp", "b.tif", "b.gif"] {
        save(name, &rgba, ExtendedColorType::Rgba8);
    }
    save("grey.png", &grey, ExtendedColorType::L8);
    save("grey.jpg", &grey, ExtendedColorType::L8);
    save("deep.png", &deep, ExtendedColorType::Rgba16);
    save("deep.tif", &deep, ExtendedColorType::Rgba16);
    let mut turned = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut turned);
    use image::ImageEncoder;
    encoder.set_exif_metadata(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec()).unwrap();
    encoder.write_image(&rgb, w, h, ExtendedColorType::Rgb8).unwrap();
    fs::write(dir.join("turned.png"), turned).unwrap();
    all.push(dir.join("turned.png"));
    all
}

/// One test, for the counters are the process's.
#[test]
fn reading_takes_no_more_than_it_reserves() {
    let dir = tempfile::tempdir().unwrap();
    for path in files(dir.path()) {
        let promised = Picture::memory(&path).unwrap();
        let (picture, took) = most(|| Picture::open(&path).unwrap());
        println!("{:12} took {:3} MiB of {:3}", path.file_name().unwrap().to_string_lossy(), mib(took), mib(promised));
        assert!(took <= promised, "{}: {took} of {promised}", path.display());
        assert!(took >= picture.rgb.len() as u64);
        let (_, took) = most(|| Mask::open(&path));
        assert!(took <= promised, "{} as a mask: {took} of {promised}", path.display());
    }
    // 1-bit pictures: a small file, three bytes a pixel. Three threads, of which two may work at a time.
    let bits = |name: &str, w: usize, h: usize| {
        let path = dir.path().join(name);
        fs::write(&path, [format!("P4 {w} {h}\n").into_bytes(), vec![0x5A; w.div_ceil(8) * h]].concat()).unwrap();
        path
    };
    let large = bits("large.pbm", 10_000, 12_000);
    let ((), took) = most(|| {
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| assert_eq!(Picture::open_noted(&large).unwrap().picture.w, 10_000));
            }
        });
    });
    println!("three threads took {} MiB of {}", mib(took), mib(MAX_BYTES));
    assert!(took <= MAX_BYTES, "{took}");
    assert!(took > 3 * 10_000 * 12_000);
    // And what does not fit is refused before anything is allocated.
    let huge = bits("huge.pbm", 30_000, 17_000);
    let (refused, took) = most(|| Picture::open(&huge).err().unwrap().to_string());
    assert!(refused.contains("too large") && refused.contains("shrink") && took < 1 << 20, "{refused}: {took}");
}
