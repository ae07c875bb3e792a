//! What ptxas takes and the emulator does not, each with the reason: for the list that `isa` prints, and for the refusal of a
//! kernel.

/// A form that is refused: its mnemonic, and modifiers that it has among others.
pub struct Left {
    pub form: &'static str,
    pub reason: &'static str,
}

const TEXTURES: &str = "textures and surfaces have formats and filters of their own";
const BULK: &str = "of bulk copies, those that reduce, that go to another block, or that change a tensor map are left out";
const CLUSTERS: &str = "every block is a cluster of its own";
const WIDE: &str = "memory is changed by at most 64 bits at once";
const STACK: &str = "local memory is laid out when a kernel is decoded";
const OLD: &str = "from sm_70 on ptxas takes it with .sync only";
const NEWER: &str = "needs sm_100 or later";

#[rustfmt::skip]
pub(super) const LEFT: &[Left] = &[
    Left { form: "tex", reason: TEXTURES },
    Left { form: "tld4", reason: TEXTURES },
    Left { form: "txq", reason: TEXTURES },
    Left { form: "suld", reason: TEXTURES },
    Left { form: "sust", reason: TEXTURES },
    Left { form: "sured", reason: TEXTURES },
    Left { form: "suq", reason: TEXTURES },
    Left { form: "istypep", reason: TEXTURES },
    Left { form: "wgmma", reason: "of the products of warp groups, those of eight-bit floats, integers, bits and sparse matrices are left out" },
    Left { form: "cp.bulk.multicast::cluster", reason: CLUSTERS },
    Left { form: "cp.bulk", reason: BULK },
    Left { form: "cp.reduce", reason: BULK },
    Left { form: "tensormap", reason: BULK },
    Left { form: "fence.tensormap::generic", reason: BULK },
    Left { form: "st.async", reason: "stores that complete at an mbarrier are not modelled" },
    Left { form: "st.bulk", reason: BULK },
    Left { form: "red.async", reason: "reductions that complete at an mbarrier are not modelled" },
    Left { form: "multimem", reason: "there is one device" },
    Left { form: "atom.b128", reason: WIDE },
    Left { form: "fma.oob", reason: "what counts as an out-of-bounds NaN is TMA's affair" },
    Left { form: "mma.m8n8k4", reason: "in f16 it has the fragments of sm_70, for which later architectures have no instruction" },
    Left { form: "mma.sp", reason: "sparse matrices are not modelled" },
    Left { form: "mma.sp::ordered_metadata", reason: "sparse matrices are not modelled" },
    Left { form: "stacksave", reason: STACK },
    Left { form: "stackrestore", reason: STACK },
    Left { form: "alloca", reason: STACK },
    Left { form: "vote", reason: OLD },
    Left { form: "shfl", reason: OLD },
    Left { form: "clusterlaunchcontrol", reason: NEWER },
    Left { form: "tcgen05", reason: NEWER },
    Left { form: "add.f32x2", reason: NEWER },
    Left { form: "sub.f32x2", reason: NEWER },
    Left { form: "mul.f32x2", reason: NEWER },
    Left { form: "fma.f32x2", reason: NEWER },
    Left { form: "cvt.ue8m0x2", reason: NEWER },
    Left { form: "cvt.e2m1x2", reason: NEWER },
    Left { form: "cvt.e2m3x2", reason: NEWER },
    Left { form: "cvt.e3m2x2", reason: NEWER },
];

impl Left {
    /// Whether an opcode is of this form.
    fn has(&self, opcode: &str) -> bool {
        let mut parts = opcode.split('.');
        let mut form = self.form.split('.');
        parts.next() == form.next() && {
            let mods: Vec<&str> = parts.collect();
            form.all(|m| mods.contains(&m))
        }
    }
}

/// Why an opcode that no row of the table matches is refused, if that is known.
pub(super) fn reason(opcode: &str) -> Option<&'static str> {
    LEFT.iter().find(|l| l.has(opcode)).map(|l| l.reason)
}
