//! A tensor map as an argument of a specification:
//!
//! ```toml
//! { map = "x", dims = [64, 300, 200, 8], box = [32, 16, 8, 1], swizzle = 128, element = "tf32" }
//! { map = "x", dims = [64, 300, 200, 8], im2col = { lower = [-1, -1], upper = [-1, -1], channels = 32, pixels = 128 }, swizzle = 128 }
//! ```

use super::tree::{Node, Problems, Table, Value};
use super::types::Type;
use crate::tensor_map::{Cut, ElementType, Swizzle, TensorMap};

/// What a specification says of a map; the address comes with the buffer.
#[derive(Clone, Debug)]
pub struct MapSpec {
    pub buffer: String,
    /// Whether the kernel may store through it.
    pub store: bool,
    element: Option<ElementType>,
    dims: Vec<u64>,
    strides: Option<Vec<u64>>,
    steps: Option<Vec<u32>>,
    cut: Cut,
    swizzle: Swizzle,
    nan: bool,
}

use ElementType::*;

const ELEMENTS: [(&str, ElementType); 13] = [
    ("u8", U8),
    ("u16", U16),
    ("u32", U32),
    ("i32", I32),
    ("u64", U64),
    ("i64", I64),
    ("f16", F16),
    ("f32", F32),
    ("f64", F64),
    ("bf16", Bf16),
    ("f32_ftz", F32Ftz),
    ("tf32", Tf32),
    ("tf32_ftz", Tf32Ftz),
];

/// Whole numbers, of which some may be negative.
fn corners(t: &mut Table, key: &'static str, p: &mut Problems) -> Vec<i32> {
    let path = t.path.clone();
    let list = t.list(key, p).unwrap_or_default();
    let one = |n: &Node| match n.value {
        Value::Int(i) => i32::try_from(i).ok(),
        _ => None,
    };
    list.iter().map(one).collect::<Option<_>>().unwrap_or_else(|| {
        p.add(t.line, &path, format!("{key} are whole numbers"));
        Vec::new()
    })
}

fn narrow(list: Vec<u64>) -> Vec<u32> {
    list.into_iter().map(|n| n.min(u32::MAX as u64) as u32).collect()
}

impl MapSpec {
    /// Reads the keys of a table that has `map`; none if it has not.
    pub fn read(t: &mut Table, p: &mut Problems) -> Option<MapSpec> {
        let buffer = t.text("map", p)?.to_string();
        let (path, line) = (t.path.clone(), t.line);
        let element = t.text("element", p).and_then(|name| {
            let found = ELEMENTS.iter().find(|(n, _)| *n == name).map(|(_, e)| *e);
            if found.is_none() {
                let names: Vec<&str> = ELEMENTS.iter().map(|(n, _)| *n).collect();
                p.add(line, &path, format!("element = {name:?} is none of {}", names.join(", ")));
            }
            found
        });
        let dims = t.wholes("dims", p).unwrap_or_default();
        if dims.is_empty() {
            p.add(line, &path, "a map needs dims, the contiguous one first");
        }
        let (strides, steps) = (t.wholes("strides", p), t.wholes("steps", p).map(narrow));
        let swizzle = match t.whole("swizzle", p) {
            None | Some(0) => Swizzle::None,
            Some(32) => Swizzle::B32,
            Some(64) => Swizzle::B64,
            Some(128) => Swizzle::B128,
            Some(n) => {
                p.add(line, &path, format!("swizzle = {n}; it is 0, 32, 64 or 128 bytes"));
                Swizzle::None
            }
        };
        let (nan, store) = (t.flag("nan", p).unwrap_or(false), t.flag("store", p).unwrap_or(false));
        let (sides, im2col) = (t.wholes("box", p), t.get("im2col"));
        let cut = match (sides, im2col) {
            (Some(sides), None) => Cut::Tiled(narrow(sides)),
            (None, Some(n)) => {
                let mut inner = Table::new(&format!("{path}.im2col"), n, p);
                let (lower, upper) = (corners(&mut inner, "lower", p), corners(&mut inner, "upper", p));
                let [channels, pixels] =
                    ["channels", "pixels"].map(|k| inner.whole(k, p).unwrap_or(0).min(u32::MAX as u64) as u32);
                inner.finish(p);
                Cut::Im2col { lower, upper, channels, pixels }
            }
            _ => {
                p.add(line, &path, "a map cuts a box = [SIDE, …] or im2col = { lower, upper, channels, pixels }: one of the two");
                Cut::Tiled(Vec::new())
            }
        };
        Some(MapSpec { buffer, store, element, dims, strides, steps, cut, swizzle, nan })
    }

    /// The map of memory at `address` with `len` bytes of a type.
    pub fn map(&self, address: u64, len: u64, ty: Option<Type>) -> Result<TensorMap, String> {
        let by_type = || ELEMENTS.iter().find(|(n, _)| Some(*n) == ty.map(|t| t.name())).map(|(_, e)| *e);
        let element = self.element.or_else(by_type).ok_or("which type do the elements have? element = \"f32\"")?;
        let mut map = TensorMap::dense(element, address, self.dims.clone(), self.cut.clone(), self.swizzle);
        map.nan = self.nan;
        if let Some(strides) = &self.strides {
            map.strides.clone_from(strides);
        }
        if let Some(steps) = &self.steps {
            map.steps.clone_from(steps);
        }
        map.check()?;
        if map.extent() > len {
            return Err(format!("the tensor has {} bytes, `{}` has {len}", map.extent(), self.buffer));
        }
        Ok(map)
    }
}
