//! PTX from a file, with a word for everything else that a file may be; and how much memory may be asked for.

use std::path::Path;

use crate::module::Module;

/// Longest text that is read: the largest libraries have some 100 MB.
const LONGEST: u64 = 1 << 30;

/// Reads a PTX file. An error names the file and what to do.
pub fn module(file: &Path) -> Result<Module, String> {
    let fail = |why: String| format!("{}: {why}", file.display());
    let size = std::fs::metadata(file).map_err(|e| fail(format!("{e}; check the path")))?;
    if size.is_dir() {
        return Err(fail("is a folder; give a PTX file".into()));
    }
    if size.len() > LONGEST {
        return Err(fail(format!("{} bytes are too many for PTX text", size.len())));
    }
    let bytes = std::fs::read(file).map_err(|e| fail(e.to_string()))?;
    if bytes.starts_with(b"\x7fELF") || bytes.starts_with(&[0x50, 0xed, 0x55, 0xba]) {
        return Err(fail("is machine code, not PTX: compile with `nvcc -ptx`, or take the PTX out with `cuobjdump -ptx`".into()));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| fail("is not text; the emulator reads PTX, as `nvcc -ptx` writes it".into()))?;
    if text.contains("__global__") && !text.contains(".entry") {
        return Err(fail("is CUDA source, not PTX: compile it with `nvcc -ptx -lineinfo`".into()));
    }
    let name = file.file_name().map_or("PTX".into(), |n| n.to_string_lossy());
    Module::parse(&name, &text).map_err(|e| match file.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(dir) => format!("{}/{e}", dir.display()),
        None => e.to_string(),
    })
}

/// Most bytes that memory of launches may have in all: as asked for in MiB, else 4 GiB or a quarter of what is free.
pub fn memory_limit(mib: Option<u64>) -> u64 {
    let free = free().unwrap_or(16 << 30);
    mib.map_or((free / 4).min(4 << 30), |m| m.saturating_mul(1 << 20))
}

/// Bytes that this machine has free, where that can be known.
pub fn free() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A number of bytes for people.
pub fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / (1u64 << 20) as f64),
        _ => format!("{:.1} GiB", n as f64 / (1u64 << 30) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_limits() {
        assert_eq!(bytes(1536), "1.5 KiB");
        assert!(memory_limit(None) <= 4 << 30 && memory_limit(Some(2)) == 2 << 20 && memory_limit(Some(u64::MAX)) == u64::MAX);
    }
}
