//! Parameters in torch's layout and in the types of weight files. Layout: filters O×I×H×W, matrices O×I (over flattened pictures
//! O×CHW), vectors. The store keeps channels innermost: filters O×H×W×I, matrices over pictures O×H×W×C. Files hold f32, f16 or bf16;
//! the store holds f32, which takes all three exactly.

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};

use crate::core::params::{Form, Param, ParamId, ParamStore};

/// A number type of weight files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    F32,
    /// 5 bits of exponent, 10 of fraction: up to 65504.
    F16,
    /// 8 bits of exponent, 7 of fraction.
    Bf16,
}

impl Stored {
    pub const ALL: [Stored; 3] = [Stored::F32, Stored::F16, Stored::Bf16];

    pub fn name(self) -> &'static str {
        match self {
            Stored::F32 => "f32",
            Stored::F16 => "f16",
            Stored::Bf16 => "bf16",
        }
    }
    /// The format's word for it.
    pub fn dtype(self) -> Dtype {
        match self {
            Stored::F32 => Dtype::F32,
            Stored::F16 => Dtype::F16,
            Stored::Bf16 => Dtype::BF16,
        }
    }
    /// `x` as a file of this type gives it back: the nearest number, ties to even, ±∞ beyond the largest.
    pub fn round(self, x: f32) -> f32 {
        match self {
            Stored::F32 => x,
            Stored::F16 => f16::from_f32(x).to_f32(),
            Stored::Bf16 => bf16::from_f32(x).to_f32(),
        }
    }
    /// The bytes of a file, rounded as by [`Stored::round`].
    pub fn bytes(self, x: &[f32]) -> Vec<u8> {
        match self {
            Stored::F32 => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Stored::F16 => x.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Stored::Bf16 => x.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        }
    }
}

/// The values of a tensor of any type of [`Stored`], exactly; the reason if it has another.
pub fn widened(name: &str, t: &TensorView) -> Result<Vec<f32>, String> {
    let halves = || t.data().chunks_exact(2).map(|b| [b[0], b[1]]);
    match t.dtype() {
        Dtype::F32 => Ok(bytemuck::pod_collect_to_vec(t.data())),
        Dtype::F16 => Ok(halves().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::BF16 => Ok(halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        other => Err(format!("tensor {name} has type {other:?}; f32, f16 and bf16 are read: convert it to one of them")),
    }
}

/// [`widened`], and the reason if a value is not finite: one such weight makes every score NaN, and a score that is NaN compares as
/// neither real nor fake.
pub fn values(name: &str, t: &TensorView) -> Result<Vec<f32>, String> {
    let values = widened(name, t)?;
    match values.iter().position(|x| !x.is_finite()) {
        Some(i) => {
            let (bad, n) = (values.iter().filter(|x| !x.is_finite()).count(), values.len());
            Err(format!("tensor {name} holds {} at place {i} ({bad} of {n} are not finite); use another file", values[i]))
        }
        None => Ok(values),
    }
}

/// Axes in torch's order.
pub fn torch_shape(p: &Param) -> Vec<usize> {
    let (n, h, w, c) = p.shape.dims();
    match p.form {
        Form::Filter => vec![n, c, h, w],
        Form::Matrix => vec![n, c],
        Form::Flat => vec![n, c * h * w],
        Form::Vector => vec![c],
    }
}

/// Values in torch's order.
pub fn to_torch<T: Copy>(p: &Param, x: &[T]) -> Vec<T> {
    let (n, h, w, c) = p.shape.dims();
    if matches!(p.form, Form::Matrix | Form::Vector) {
        return x.to_vec();
    }
    let mut out = Vec::with_capacity(x.len());
    for k in 0..n {
        for ch in 0..c {
            out.extend((0..h * w).map(|rs| x[(k * h * w + rs) * c + ch]));
        }
    }
    out
}

/// The inverse of [`to_torch`], into the store's order.
pub fn from_torch<T: Copy>(p: &Param, t: &[T], out: &mut [T]) {
    let (n, h, w, c) = p.shape.dims();
    if matches!(p.form, Form::Matrix | Form::Vector) {
        return out.copy_from_slice(t);
    }
    for k in 0..n {
        for ch in 0..c {
            for rs in 0..h * w {
                out[(k * h * w + rs) * c + ch] = t[(k * c + ch) * h * w + rs];
            }
        }
    }
}

/// Read one tensor into parameter `id`; the reason if type or shape differ.
pub fn read_tensor(store: &mut ParamStore, id: ParamId, t: &TensorView) -> Result<(), String> {
    let p = store.get(id).clone();
    let values = values(&p.name, t)?;
    if t.shape() != torch_shape(&p) {
        return Err(format!("tensor {} has shape {:?}, the network needs {:?}", p.name, t.shape(), torch_shape(&p)));
    }
    from_torch(&p, &values, store.value_mut(id));
    Ok(())
}
