//! Checkpoints: safetensors with torch's names and axes (`lae.encoder.0.weight` is [out, in, kh, kw]), metadata as strings.
//! Files are written to a temporary name and renamed, so that a kill leaves the previous one.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{SafeTensors, TensorView};

use crate::core::file::write_whole;
use crate::core::params::{Arena, Kind, ParamId, ParamStore};
use crate::error::{Error, Result};
use crate::nn::weights::{Stored, read_tensor, to_torch, torch_shape, values};

/// What is written of a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Weights and running statistics: all that using a model needs.
    Model,
    /// The same and Adam's moments: all that going on needs.
    Everything,
}

const MOMENTS: [(Arena, &str); 2] = [(Arena::M, "adam.m"), (Arena::V, "adam.v")];

/// Write all parameters but the frozen comparator, with `metadata`.
pub fn save(store: &ParamStore, file: &Path, what: What, metadata: HashMap<String, String>) -> Result<()> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (id, p) in store.iter().filter(|(_, p)| p.kind != Kind::Frozen) {
        tensors.push((p.name.clone(), torch_shape(p), to_torch(p, store.value(id))));
    }
    if what == What::Everything {
        for (arena, name) in MOMENTS {
            let values = store.arena(arena).to_vec();
            tensors.push((name.to_string(), vec![values.len()], values));
        }
    }
    let tensors: Vec<_> =
        tensors.iter().map(|(name, shape, x)| (name.as_str(), shape.clone(), bytemuck::cast_slice(x))).collect();
    write(file, Stored::F32, &tensors, metadata)
}

/// Write tensors of `(name, axes, bytes)` in one number type, with `metadata`.
fn write(file: &Path, stored: Stored, tensors: &[(&str, Vec<usize>, &[u8])], metadata: HashMap<String, String>) -> Result<()> {
    let view = |shape: &[usize], bytes| TensorView::new(stored.dtype(), shape.to_vec(), bytes).expect("sizes agree");
    let views = tensors.iter().map(|&(name, ref shape, bytes)| (name, view(shape, bytes)));
    let mut metadata: BTreeMap<_, _> = metadata.into_iter().collect();
    let digest = digest(&metadata, tensors.iter().map(|&(name, ref shape, bytes)| (name, view(shape, bytes))));
    metadata.insert(DIGEST.to_string(), digest);
    // The library writes metadata in the order of a hash map: one key keeps the bytes the same for the same content.
    let metadata = HashMap::from([("lae-engine".to_string(), packed(&metadata))]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::data(file, e))?;
    write_whole(file, &bytes)
}

/// The key of the metadata under which a file's digest stands.
const DIGEST: &str = "digest";

fn packed(metadata: &BTreeMap<String, String>) -> String {
    serde_json::to_string(metadata).expect("strings")
}

/// CRC-32C over the metadata and each tensor's name, type, axes and bytes, by name. A safetensors file has no checksum of its own:
/// without one a flipped bit of a weight would pass for a weight.
fn digest<'a>(metadata: &BTreeMap<String, String>, tensors: impl IntoIterator<Item = (&'a str, TensorView<'a>)>) -> String {
    let mut crc = crc32c::crc32c(packed(metadata).as_bytes());
    for (name, t) in tensors.into_iter().collect::<BTreeMap<_, _>>() {
        crc = crc32c::crc32c_append(crc, format!("{name} {:?} {:?}", t.dtype(), t.shape()).as_bytes());
        crc = crc32c::crc32c_append(crc, t.data());
    }
    format!("crc32c:{crc:08x}")
}

fn broken(file: &Path, why: impl std::fmt::Display) -> Error {
    Error::data(file, format!("not a checkpoint of this program ({why})"))
}

/// The tensors and the metadata of a file's bytes, whose digest agrees.
fn parse<'a>(file: &Path, bytes: &'a [u8]) -> Result<(SafeTensors<'a>, HashMap<String, String>)> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(file, e))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| broken(file, e))?;
    let packed = header.metadata().as_ref().and_then(|m| m.get("lae-engine")).map_or("{}", String::as_str);
    let mut metadata: BTreeMap<String, String> = serde_json::from_str(packed).map_err(|e| broken(file, e))?;
    let Some(written) = metadata.remove(DIGEST) else {
        return Err(broken(file, "it has no digest; since 0.2 every checkpoint has"));
    };
    let named = tensors.tensors();
    let found = digest(
        &metadata,
        named.iter().map(|(name, t)| (name.as_str(), TensorView::new(t.dtype(), t.shape().to_vec(), t.data()).expect("read"))),
    );
    if found != written {
        return Err(Error::data(file, format!("damaged: its digest is {found}, and {written} was written; copy it again")));
    }
    Ok((tensors, metadata.into_iter().collect()))
}

/// Read what [`save`] or [`export`] wrote; returns the metadata.
pub fn load(store: &mut ParamStore, file: &Path, what: What) -> Result<HashMap<String, String>> {
    let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    let (tensors, metadata) = parse(file, &bytes)?;
    // Tensors of networks that this store does not hold are passed over: a detector needs no discriminator.
    let ids: Vec<ParamId> = store.iter().filter(|(_, p)| p.kind != Kind::Frozen).map(|(id, _)| id).collect();
    for id in ids {
        let name = store.get(id).name.clone();
        let t = tensors
            .tensor(&name)
            .map_err(|_| broken(file, format!("tensor {name} is missing; was it another configuration?")))?;
        read_tensor(store, id, &t).map_err(|why| Error::data(file, why))?;
    }
    if what == What::Everything {
        for (arena, name) in MOMENTS {
            let t = tensors.tensor(name).map_err(|_| broken(file, format!("tensor {name} is missing")))?;
            let values = values(name, &t).map_err(|why| Error::data(file, why))?;
            let to = store.arena_mut(arena);
            if values.len() != to.len() {
                return Err(broken(file, format!("{name} has {} values, {} are needed", values.len(), to.len())));
            }
            to.copy_from_slice(&values);
        }
    }
    Ok(metadata)
}

/// What [`export`] wrote.
#[derive(Debug)]
pub struct Exported {
    pub tensors: usize,
    pub values: usize,
    /// The value that rounding changed most, by its size, and what it became.
    pub most_changed: (f32, f32),
}

/// Write the tensors of checkpoint `from` to `to` with all numbers in type `stored`. Names, axes and metadata are kept, and the
/// metadata says `stored`. A finite number beyond the largest of the type is an error.
pub fn export(from: &Path, to: &Path, stored: Stored) -> Result<Exported> {
    let bytes = std::fs::read(from).map_err(|e| Error::io(from, e))?;
    let (tensors, mut metadata) = parse(from, &bytes)?;
    metadata.insert("stored".to_string(), stored.name().to_string());
    let mut out: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut done = Exported { tensors: 0, values: 0, most_changed: (0.0, 0.0) };
    for (name, t) in tensors.tensors() {
        let values = values(&name, &t).map_err(|why| Error::data(from, why))?;
        for &x in &values {
            let y = stored.round(x);
            if x.is_finite() && !y.is_finite() {
                let wider = if stored == Stored::F16 { "bf16 or f32" } else { "f32" };
                let why = format!("tensor {name} holds {x}, too large for {}; choose {wider}", stored.name());
                return Err(Error::data(from, why));
            }
            let (a, b) = done.most_changed;
            if (y - x).abs() > (b - a).abs() {
                done.most_changed = (x, y);
            }
        }
        (done.tensors, done.values) = (done.tensors + 1, done.values + values.len());
        out.push((name, t.shape().to_vec(), stored.bytes(&values)));
    }
    let tensors: Vec<_> = out.iter().map(|(name, shape, bytes)| (name.as_str(), shape.clone(), &bytes[..])).collect();
    write(to, stored, &tensors, metadata)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::params::{Form, Init};
    use crate::core::shape::{Shape, shape};

    fn store() -> (ParamStore, [ParamId; 3]) {
        let mut store = ParamStore::new(3);
        let normal = Init::Normal { mean: 0.0, std: 1.0 };
        let a = store.add("net.0.weight", shape(4, 3, 3, 5), Kind::Trained, Form::Filter, normal);
        let b = store.add("net.1.weight", shape(7, 1, 1, 3), Kind::Trained, Form::Matrix, normal);
        let c = store.add("net.1.var", Shape::vector(7), Kind::Running, Form::Vector, Init::Constant(1.0 / 3.0));
        (store, [a, b, c])
    }

    #[test]
    fn a_model_is_exported_in_every_type_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (model, out) = (dir.path().join("model.safetensors"), dir.path().join("out.safetensors"));
        let (store, ids) = store();
        let notes = HashMap::from([("size".to_string(), "64".to_string())]);
        save(&store, &model, What::Model, notes).unwrap();
        for stored in Stored::ALL {
            let done = export(&model, &out, stored).unwrap();
            assert_eq!((done.tensors, done.values), (3, 180 + 21 + 7));
            let (back, notes) = read(&out);
            assert_eq!((notes["size"].as_str(), notes["stored"].as_str()), ("64", stored.name()));
            let mut most = 0f32;
            for id in ids {
                for (&x, &y) in store.value(id).iter().zip(back.value(id)) {
                    assert_eq!(y.to_bits(), stored.round(x).to_bits(), "{x}");
                    most = most.max((x - y).abs());
                }
            }
            assert_eq!((done.most_changed.0 - done.most_changed.1).abs(), most);
            assert_eq!(most == 0.0, stored == Stored::F32);
            // From there to f32: the same values, and no more rounding.
            let again = dir.path().join("again.safetensors");
            assert_eq!(export(&out, &again, Stored::F32).unwrap().most_changed, (0.0, 0.0));
            let (wide, _) = read(&again);
            ids.iter().for_each(|&id| assert_eq!(wide.value(id), back.value(id)));
        }
    }

    fn read(file: &Path) -> (ParamStore, HashMap<String, String>) {
        let (mut store, ids) = store();
        ids.iter().for_each(|&id| store.value_mut(id).fill(f32::NAN));
        let notes = load(&mut store, file, What::Model).unwrap();
        (store, notes)
    }

    #[test]
    fn numbers_beyond_a_type_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (model, out) = (dir.path().join("model.safetensors"), dir.path().join("out.safetensors"));
        let (mut store, ids) = store();
        let mut refused = |x: f32, stored| {
            store.value_mut(ids[1])[5] = x;
            save(&store, &model, What::Model, HashMap::new()).unwrap();
            export(&model, &out, stored).err().map(|e| e.to_string())
        };
        assert_eq!(refused(65504.0, Stored::F16), None);
        assert!(refused(f32::INFINITY, Stored::F16).unwrap().contains("not finite"));
        let why = refused(-70000.0, Stored::F16).unwrap();
        assert!(["model.safetensors", "net.1.weight", "-70000", "f16", "bf16"].iter().all(|w| why.contains(w)), "{why}");
        assert_eq!(refused(-70000.0, Stored::Bf16), None);
        let why = refused(f32::MAX, Stored::Bf16).unwrap();
        assert!(why.contains("net.1.weight") && why.contains("too large for bf16; choose f32"), "{why}");
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut store, ids) = store();
            store.value_mut(ids[1])[5] = x;
            save(&store, &file, What::Everything, HashMap::new()).unwrap();
            for why in [load(&mut store, &file, What::Model).err(), export(&file, &dir.path().join("out"), Stored::F16).err()] {
                let why = why.expect("an error").to_string();
                let words = ["model.safetensors", "net.1.weight", &format!("{x}"), "1 of 21", "another file"];
                assert!(words.iter().all(|w| why.contains(w)), "{why}");
            }
            // Adam's moments, too.
            store.value_mut(ids[1])[5] = 0.0;
            store.arena_mut(Arena::V)[3] = x;
            save(&store, &file, What::Everything, HashMap::new()).unwrap();
            let why = load(&mut store, &file, What::Everything).expect_err("an error").to_string();
            assert!(why.contains("adam.v"), "{why}");
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let bytes = vec![0; 8 * 180];
        let view = TensorView::new(safetensors::Dtype::F64, vec![4, 5, 3, 3], &bytes).unwrap();
        let why = values("net.0.weight", &view).unwrap_err();
        assert!(["net.0.weight", "F64", "f32, f16 and bf16"].iter().all(|w| why.contains(w)), "{why}");
    }

    /// 2,000 mutants of a checkpoint: bytes changed, cut out, doubled, cut off. None is taken for a checkpoint, none panics.
    #[test]
    fn a_file_that_was_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        let (mut store, _) = store();
        let notes = HashMap::from([("size".to_string(), "64".to_string()), ("state".to_string(), "{}".to_string())]);
        save(&store, &file, What::Everything, notes).unwrap();
        let whole = std::fs::read(&file).unwrap();
        load(&mut store, &file, What::Everything).unwrap();
        let mut rng = crate::core::rng::Rng::new(5, crate::core::rng::stream("mutants"), 0);
        // Half of the places lie in the header, which is the smaller part of the file.
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
        for mutant in 0..2000 {
            let mut bytes = whole.clone();
            let at = rng.below(if mutant % 2 == 0 { header } else { whole.len() });
            let span = (1 + rng.below(40)).min(whole.len() - at);
            match rng.below(6) {
                0 | 1 => bytes[at] ^= 1 << rng.below(8),
                2 => bytes[at] = bytes[at].wrapping_add(1 + rng.below(255) as u8),
                3 => bytes.truncate(at),
                4 => drop(bytes.drain(at..at + span)),
                _ => bytes.splice(at..at, whole[at..at + span].to_vec()).for_each(drop),
            }
            if bytes == whole {
                continue; // a span cut out of equal bytes, or put into them, may leave the file as it was
            }
            std::fs::write(&file, &bytes).unwrap();
            let why = load(&mut store, &file, What::Everything).expect_err("a mutant was read").to_string();
            assert!(why.contains("model.safetensors"), "{why}");
            let kinds = ["not a checkpoint", "damaged: its digest", "not finite"];
            let kind = kinds.into_iter().find(|k| why.contains(k)).unwrap_or_else(|| panic!("{why}"));
            *reasons.entry(kind).or_default() += 1;
        }
        println!("{reasons:?}");
        assert!(reasons.values().sum::<usize>() >= 1990 && reasons["damaged: its digest"] > 300, "{reasons:?}");
    }
}
