//! The fused CAM-attention loss, equations 7 to 9: class activation map → |z|-weighted sum → normalisation → upsampling → masked
//! squared error, and the whole backward, without a full-size map in memory.
//!
//! Inputs: `f` N×h×w×K (the encoder's last ReLU), head `W` D×1×1×K and `b` D, mask `G` N×S×S×1 of zeros and ones, and
//! `select` N×1×1×1 (φ: 1 where the picture has a mask). Outputs: the loss, the normalised map m̃ N×h×w×1, and what backward
//! remembers (dℓ/dm̃, z, g, m).
//!
//! ```text
//! g = mean_p f        z = W g + b                                   (the paper's GAP and last layer)
//! α_c = |z_c|         v_k = Σ_c α_c W[c,k]       c in the F half    (eq. 8; `cam.weight`, `cam.units`)
//! m_p = Σ_k v_k f[p,k]                                              (eq. 7 and 8 in one dot product: Σ_c α_c M_c)
//! m̃ = norm(m)        M̂ = U m̃ Uᵀ                                    (`cam.norm`, `cam.relu`; U: bilinear rows)
//! L = 1/Φ Σ_i φ_i ‖M̂_i − G_i‖² / P       Φ = Σφ, P = S² or 1        (eq. 9 and 11; `attention.pixel_reduce`)
//!
//! d̃ = 2φ/(PΦ) · Uᵀ(M̂ − G)U            d = dL/dm through the norm
//! q_k = Σ_p f[p,k] d_p                   (dL/dv)
//! s_c = dα_c/dz_c · Σ_k W[c,k] q_k       (dL/dz; 0 outside the units, 0 with `attention.detach_z`)
//! df[p,k] = v_k d_p + 1/(hw) Σ_c s_c W[c,k]     dW[c,k] = α_c q_k + s_c g_k     db_c = s_c
//! ```
//! Upsampling runs row by row: one row of the upsampled map exists at a time (2·w floats of scratch), never the whole map. A row gives
//! its error and is folded back to h×w at once, so forward already computes d̃ and hands it to backward.
//!
//! `host.rs` has both passes on the CPU, `launch.rs` their launches, `cases.rs` the rows that are tested and timed.

mod cases;
mod host;
mod launch;
mod options;

pub use self::cases::cases;
pub use self::options::{CamAttention, Norm, Reduce, Units, Weight};
use crate::core::launch::Operands;
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;

/// What [`cam_attention`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    pub loss: Var,
    /// The normalised map at the resolution of `f`.
    pub map: Var,
}

/// Record the fused loss; see the module for shapes.
pub fn cam_attention(t: &mut Tape, op: CamAttention, f: Var, w: Var, b: Var, mask: Var, select: Var) -> Result<Attention> {
    let out = t.apply_all(op, &[f, w, b, mask, select])?;
    Ok(Attention { loss: out[0], map: out[1] })
}

impl Op for CamAttention {
    fn name(&self) -> &'static str {
        "cam_attention"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let [f, w, b, g, select] = x else { return Err(format!("needs five inputs, got {}", x.len())) };
        let fits = w.h == 1 && w.w == 1 && w.c == f.c && b.len() == w.n as usize && w.n % 2 == 0;
        if !fits {
            return Err(format!("head {w} with bias {b} does not fit features {f}"));
        }
        if f.is_empty() || g.n != f.n || g.c != 1 || g.is_empty() || select.len() != f.n as usize {
            return Err(format!("mask {g} and selection {select} do not fit features {f}"));
        }
        let (map, d) = (Shape { c: 1, ..*f }, w.n as usize);
        let n = f.n as usize;
        Ok(vec![Shape::SCALAR, map, map, shape(n, 1, 1, d), shape(n, 1, 1, f.c as usize), map])
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::first(2), y: Set::of(1).and(2).and(3).and(4).and(5) }
    }
    fn differentiable(&self) -> Set {
        Set::first(3)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        host::scratch(pass, xs)
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let (n, f) = (xs[0].n as u64, xs[0].len() as u64);
        let head = n * xs[1].len() as u64;
        match pass {
            Pass::Forward => Cost { macs: 2 * f + 2 * head, bytes: 4 * (2 * f + xs[3].len() as u64) },
            Pass::Backward => Cost { macs: 2 * f + 4 * head, bytes: 4 * 2 * f },
        }
    }

    fn forward<T: Real>(&self, m: Host<T>) {
        self.host_forward(m);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        self.host_backward(m);
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        launch::scratch(pass, xs)
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        self.launch_forward(g)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        self.launch_backward(g)
    }
}
