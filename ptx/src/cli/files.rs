//! Numbers from files: NumPy's `.npy`, safetensors (`FILE#TENSOR`), and raw bytes.

use std::path::Path;

use super::types::Type;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub ty: Type,
    pub bytes: Vec<u8>,
    /// Of raw bytes there is none.
    pub shape: Option<Vec<u64>>,
}

/// Reads `FILE` or `FILE#TENSOR`, at most `limit` bytes. Of raw bytes the type is `raw`.
pub fn load(base: &Path, name: &str, raw: Type, limit: u64) -> Result<Loaded, String> {
    let (file, tensor) = match name.rsplit_once('#') {
        Some((file, tensor)) if file.ends_with(".safetensors") => (file, Some(tensor)),
        _ => (name, None),
    };
    let path = base.join(file);
    let shown = path.display().to_string();
    let fail = |why: String| format!("{shown}: {why}");
    let size = std::fs::metadata(&path).map_err(|e| fail(format!("{e}; check the path")))?;
    if size.is_dir() {
        return Err(fail("is a folder".into()));
    }
    if size.len() > limit {
        return Err(fail(format!("{} bytes are more than the {limit} that memory may have (--memory)", size.len())));
    }
    let bytes = std::fs::read(&path).map_err(|e| fail(e.to_string()))?;
    match (file, tensor) {
        _ if bytes.starts_with(MAGIC) => npy(&bytes).map_err(fail),
        (f, _) if f.ends_with(".npy") => Err(fail("is named .npy and does not begin as one; raw bytes need another name".into())),
        (f, _) if f.ends_with(".npz") => Err(fail("is an archive: unzip it, or write its arrays with numpy.save".into())),
        (f, tensor) if f.ends_with(".safetensors") => safetensors(&bytes, tensor).map_err(fail),
        _ if bytes.len().is_multiple_of(raw.size()) => Ok(Loaded { ty: raw, bytes, shape: None }),
        _ => Err(fail(format!("{} bytes are no whole number of {} values of {} bytes", bytes.len(), raw.name(), raw.size()))),
    }
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array as `numpy.save` writes it: C order, little endian.
fn npy(b: &[u8]) -> Result<Loaded, String> {
    let damaged = || "its header is damaged".to_string();
    let size = match b.get(6).ok_or_else(damaged)? {
        1 => u16::from_le_bytes(b.get(8..10).ok_or_else(damaged)?.try_into().expect("two bytes")) as usize + 10,
        2 | 3 => u32::from_le_bytes(b.get(8..12).ok_or_else(damaged)?.try_into().expect("four bytes")) as usize + 12,
        v => return Err(format!("version {v} of the format is not known; versions are 1 to 3")),
    };
    let from = if b[6] == 1 { 10 } else { 12 };
    let head = b.get(from..size).and_then(|h| std::str::from_utf8(h).ok()).ok_or_else(damaged)?;
    let value = |key: &str| {
        let at = head.find(&format!("'{key}'")).ok_or_else(damaged)?;
        let rest = head[at..].split_once(':').ok_or_else(damaged)?.1;
        Ok::<&str, String>(rest.trim_start())
    };
    let descr = value("descr")?;
    let Some(descr) = descr.strip_prefix('\'').and_then(|d| d.split_once('\'')).map(|d| d.0) else {
        return Err("is an array of records; save each field as an array of numbers".into());
    };
    let shape = value("shape")?.strip_prefix('(').and_then(|s| s.split_once(')')).ok_or_else(damaged)?.0;
    let shape: Option<Vec<u64>> = shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect();
    let shape = shape.ok_or_else(damaged)?;
    if value("fortran_order")?.starts_with("True") && shape.len() > 1 {
        return Err("is in Fortran order; save numpy.ascontiguousarray(x)".into());
    }
    if descr.starts_with('>') {
        return Err(format!("is big-endian ({descr}); save x.astype('{}')", descr.replace('>', "<")));
    }
    let ty = match descr.trim_start_matches(['<', '|', '=']) {
        "i1" => Type::I8,
        "u1" | "b1" => Type::U8,
        "i2" => Type::I16,
        "u2" => Type::U16,
        "i4" => Type::I32,
        "u4" => Type::U32,
        "i8" => Type::I64,
        "u8" => Type::U64,
        "f2" => Type::F16,
        "f4" => Type::F32,
        "f8" => Type::F64,
        // What ml_dtypes' bfloat16 is saved as.
        "V2" => Type::Bf16,
        _ => {
            return Err(format!(
                "has numbers of type `{descr}`, which no kernel takes; save x.astype('<f4') or another of {}",
                super::types::NAMES
            ));
        }
    };
    let bytes = b[size..].to_vec();
    let count = shape.iter().try_fold(ty.size() as u64, |n, &d| n.checked_mul(d));
    if count != Some(bytes.len() as u64) {
        return Err(format!(
            "holds {} bytes of data, and its shape {shape:?} of {} says otherwise: the file is truncated or damaged",
            bytes.len(),
            ty.name()
        ));
    }
    Ok(Loaded { ty, bytes, shape: Some(shape) })
}

fn safetensors(b: &[u8], name: Option<&str>) -> Result<Loaded, String> {
    use safetensors::{Dtype, SafeTensors};
    let all = SafeTensors::deserialize(b).map_err(|e| format!("is no safetensors file: {e}"))?;
    let mut names = all.names();
    names.sort_unstable();
    let name = match (name, names.as_slice()) {
        (Some(n), _) => n,
        (None, [one]) => one,
        (None, _) => return Err(format!("has several tensors; add #NAME, one of {}", super::names::some(&names))),
    };
    let t = all.tensor(name).map_err(|_| format!("has no tensor `{name}`{}", super::names::meant(name, &names)))?;
    let ty = match t.dtype() {
        Dtype::I8 => Type::I8,
        Dtype::U8 | Dtype::BOOL => Type::U8,
        Dtype::I16 => Type::I16,
        Dtype::U16 => Type::U16,
        Dtype::I32 => Type::I32,
        Dtype::U32 => Type::U32,
        Dtype::I64 => Type::I64,
        Dtype::U64 => Type::U64,
        Dtype::F16 => Type::F16,
        Dtype::BF16 => Type::Bf16,
        Dtype::F32 => Type::F32,
        Dtype::F64 => Type::F64,
        t => return Err(format!("tensor `{name}` is of type {t:?}, which is none of {}", super::types::NAMES)),
    };
    Ok(Loaded { ty, bytes: t.data().to_vec(), shape: Some(t.shape().iter().map(|&n| n as u64).collect()) })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `numpy.save` writes.
    pub fn npy_bytes(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let mut head = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        while (10 + head.len() + 1) % 64 != 0 {
            head.push(' ');
        }
        head.push('\n');
        [MAGIC, &[1, 0], &(head.len() as u16).to_le_bytes(), head.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_of_numpy() {
        let data = [1f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
        let good = npy_bytes("<f4", "False", "(2, 2)", &data);
        assert_eq!(npy(&good).unwrap(), Loaded { ty: Type::F32, bytes: data.clone(), shape: Some(vec![2, 2]) });
        assert_eq!(npy(&npy_bytes("|u1", "False", "()", &[7])).unwrap().shape, Some(vec![]));
        assert!(npy(&npy_bytes("<f4", "True", "(4,)", &data)).is_ok(), "one axis has one order");
        for (bytes, words) in [
            (npy_bytes(">f4", "False", "(2, 2)", &data), "big-endian (>f4); save x.astype('<f4')"),
            (npy_bytes("<f4", "True", "(2, 2)", &data), "numpy.ascontiguousarray"),
            (npy_bytes("<c8", "False", "(2,)", &data), "type `<c8`"),
            (npy_bytes("<f4", "False", "(2, 3)", &data), "truncated or damaged"),
            (npy_bytes("<f4", "False", "(4294967296, 4294967296, 4)", &data), "truncated or damaged"),
            (good[..40].to_vec(), "its header is damaged"),
        ] {
            let why = npy(&bytes).unwrap_err();
            assert!(why.contains(words), "no `{words}` in: {why}");
        }
        // No damage leads to a panic.
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x55;
            let _ = npy(&bad);
            let _ = npy(&good[..i]);
        }
    }
}
