//! Checkpoints: safetensors with torch's names and axes (`lae.encoder.0.weight` is [out, in, kh, kw]), metadata as strings.
//! Files are written to a temporary name and renamed, so that a kill leaves the previous one.

use std::collections::HashMap;
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
    // The library writes metadata in the order of a hash map: one key keeps the bytes the same for the same content.
    let packed = serde_json::to_string(&metadata.into_iter().collect::<std::collections::BTreeMap<_, _>>()).expect("strings");
    let metadata = HashMap::from([("lae-engine".to_string(), packed)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::data(file, e))?;
    write_whole(file, &bytes)
}

fn broken(file: &Path, why: impl std::fmt::Display) -> Error {
    Error::data(file, format!("not a checkpoint of this program ({why})"))
}

/// The tensors and the metadata of a file's bytes.
fn parse<'a>(file: &Path, bytes: &'a [u8]) -> Result<(SafeTensors<'a>, HashMap<String, String>)> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(file, e))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| broken(file, e))?;
    let packed = header.metadata().as_ref().and_then(|m| m.get("lae-engine")).map_or("{}", String::as_str);
    Ok((tensors, serde_json::from_str(packed).map_err(|e| broken(file, e))?))
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
        assert_eq!(refused(f32::INFINITY, Stored::F16), None);
        let why = refused(-70000.0, Stored::F16).unwrap();
        assert!(["model.safetensors", "net.1.weight", "-70000", "f16", "bf16"].iter().all(|w| why.contains(w)), "{why}");
        assert_eq!(refused(-70000.0, Stored::Bf16), None);
        let why = refused(f32::MAX, Stored::Bf16).unwrap();
        assert!(why.contains("net.1.weight") && why.contains("too large for bf16; choose f32"), "{why}");
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        let bytes = vec![0; 8 * 180];
        let view = TensorView::new(safetensors::Dtype::F64, vec![4, 5, 3, 3], &bytes).unwrap();
        std::fs::write(&file, safetensors::serialize([("net.0.weight", view)], None).unwrap()).unwrap();
        let (mut store, _) = store();
        let why = load(&mut store, &file, What::Model).unwrap_err().to_string();
        assert!(["model.safetensors", "net.0.weight", "F64", "f32, f16 and bf16"].iter().all(|w| why.contains(w)), "{why}");
        let why = export(&file, &dir.path().join("out"), Stored::F16).unwrap_err().to_string();
        assert!(why.contains("net.0.weight") && why.contains("F64"), "{why}");
    }
}
