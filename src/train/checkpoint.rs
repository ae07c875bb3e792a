//! Checkpoints: safetensors with torch's names and axes (`lae.encoder.0.weight` is [out, in, kh, kw]), metadata as strings.
//! Files are written to a temporary name and renamed, so that a kill leaves the previous one.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::core::file::write_whole;
use crate::core::params::{Arena, Kind, ParamId, ParamStore};
use crate::error::{Error, Result};
use crate::nn::weights::{read_tensor, to_torch, torch_shape};

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
    let views = tensors.iter().map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).expect("sizes agree");
        (name.as_str(), view)
    });
    // The library writes metadata in the order of a hash map: one key keeps the bytes the same for the same content.
    let packed = serde_json::to_string(&metadata.into_iter().collect::<std::collections::BTreeMap<_, _>>()).expect("strings");
    let metadata = HashMap::from([("lae-engine".to_string(), packed)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::data(file, e))?;
    write_whole(file, &bytes)
}

/// Read what [`save`] wrote; returns the metadata.
pub fn load(store: &mut ParamStore, file: &Path, what: What) -> Result<HashMap<String, String>> {
    let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    let broken = |e: String| Error::data(file, format!("not a checkpoint of this program ({e})"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| broken(e.to_string()))?;
    // Tensors of networks that this store does not hold are passed over: a detector needs no discriminator.
    let ids: Vec<ParamId> = store.iter().filter(|(_, p)| p.kind != Kind::Frozen).map(|(id, _)| id).collect();
    for id in ids {
        let name = store.get(id).name.clone();
        let t = tensors.tensor(&name).map_err(|_| broken(format!("tensor {name} is missing; was it another configuration?")))?;
        read_tensor(store, id, &t).map_err(|why| Error::data(file, why))?;
    }
    if what == What::Everything {
        for (arena, name) in MOMENTS {
            let t = tensors.tensor(name).map_err(|_| broken(format!("tensor {name} is missing")))?;
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(t.data());
            let to = store.arena_mut(arena);
            if values.len() != to.len() {
                return Err(broken(format!("{name} has {} values, {} are needed", values.len(), to.len())));
            }
            to.copy_from_slice(&values);
        }
    }
    let packed = header.metadata().as_ref().and_then(|m| m.get("lae-engine")).cloned().unwrap_or_else(|| "{}".into());
    serde_json::from_str(&packed).map_err(|e| broken(e.to_string()))
}
