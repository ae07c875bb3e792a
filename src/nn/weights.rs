//! Parameters in torch's layout, as weight files hold them: filters O×I×H×W, matrices O×I, vectors. The store keeps filters
//! O×H×W×I, channels innermost.

use safetensors::tensor::{Dtype, TensorView};

use crate::core::params::{Form, Param, ParamId, ParamStore};

/// Axes in torch's order.
pub fn torch_shape(p: &Param) -> Vec<usize> {
    let (n, h, w, c) = p.shape.dims();
    match p.form {
        Form::Filter => vec![n, c, h, w],
        Form::Matrix => vec![n, c],
        Form::Vector => vec![c],
    }
}

/// Values in torch's order.
pub fn to_torch(p: &Param, x: &[f32]) -> Vec<f32> {
    let (n, h, w, c) = p.shape.dims();
    if p.form != Form::Filter {
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
pub fn from_torch(p: &Param, t: &[f32], out: &mut [f32]) {
    let (n, h, w, c) = p.shape.dims();
    if p.form != Form::Filter {
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
    if t.dtype() != Dtype::F32 {
        return Err(format!("tensor {} has type {:?}; f32 is needed", p.name, t.dtype()));
    }
    if t.shape() != torch_shape(&p) {
        return Err(format!("tensor {} has shape {:?}, the network needs {:?}", p.name, t.shape(), torch_shape(&p)));
    }
    from_torch(&p, &bytemuck::pod_collect_to_vec(t.data()), store.value_mut(id));
    Ok(())
}
