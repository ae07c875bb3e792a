//! Numbers in other types, bit by bit: what PyTorch makes of them (`tests/golden/casts.safetensors`, which `tests/golden/casts.py`
//! writes) against the op on the host, in the oracle and on the PTX emulator, and against weight files.

use half::{bf16, f16};
use lae_engine::core::dtype::DType;
use lae_engine::core::op::Element;
use lae_engine::core::params::{Form, Init, Kind, ParamStore};
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::shape::Shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::nn::weights::{Stored, from_torch, widened};
use lae_engine::ops::{add::add, cast::cast, dot::dot};
use safetensors::{Dtype, SafeTensors};

fn golden() -> SafeTensors<'static> {
    SafeTensors::deserialize(include_bytes!("golden/casts.safetensors")).unwrap()
}

fn words<T: bytemuck::Pod>(name: &str) -> Vec<T> {
    bytemuck::pod_collect_to_vec(golden().tensor(name).unwrap().data())
}

/// The same bits, or both NaN: no machine agrees with another on the bits of that.
#[track_caller]
fn same(what: &str, x: &[f32], got: &[bf16], want: &[bf16]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for ((x, a), b) in x.iter().zip(got).zip(want) {
        assert!(
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            "{what}: {x:e} ({:08x}) gives {a:?}, not {b:?}",
            x.to_bits()
        );
    }
}

/// `x` → bf16 → back through a plan; then the bf16 numbers, fed as such, → the plan's type.
fn through<T: Element>(make: impl Fn(Tape, &[Var]) -> Plan<T>, x: &[f32]) -> (Vec<bf16>, Vec<T>, Vec<T>) {
    let mut store = ParamStore::<T>::new(0);
    let mut t = Tape::new(&store);
    let s = Shape::vector(x.len());
    let (a, b) = (t.input(s), t.input_of(s, DType::Bf16));
    let small = cast(&mut t, a, DType::Bf16).unwrap();
    let (back, wide) = (cast(&mut t, small, DType::F32).unwrap(), cast(&mut t, b, DType::F32).unwrap());
    let mut plan = make(t, &[small, back, wide]);
    plan.feed(a).unwrap().iter_mut().zip(x).for_each(|(d, &x)| *d = T::of(x as f64));
    plan.feed_bf16(b).unwrap().iter_mut().zip(x).for_each(|(d, &x)| *d = bf16::from_f32(x));
    plan.run(&mut store).unwrap();
    let real = |v| plan.fetch(v).unwrap().to_vec();
    (plan.fetch_bf16(small).unwrap().to_vec(), real(back), real(wide))
}

fn check<T: Element>(what: &str, make: impl Fn(Tape, &[Var]) -> Plan<T>) {
    let (x, want): (Vec<f32>, Vec<bf16>) = (words("f32"), words("bf16"));
    let wide: Vec<f32> = words("wide_bf16");
    assert!(x.len() > 2000 && want.len() == x.len());
    // Every rest by four: a kernel's thread takes four numbers.
    for n in x.len() - 4..x.len() {
        let (small, back, again) = through(&make, &x[..n]);
        same(what, &x, &small, &want[..n]);
        for (got, want) in back.iter().zip(&wide).chain(again.iter().zip(&wide)) {
            let equal = got.f64() == *want as f64 && got.f64().is_sign_negative() == want.is_sign_negative();
            assert!(equal || got.f64().is_nan() && want.is_nan(), "{what}: {got:?}, not {want:e}");
        }
    }
}

#[test]
fn the_host_rounds_as_torch() {
    let (x, want): (Vec<f32>, Vec<bf16>) = (words("f32"), words("bf16"));
    same("half", &x, &x.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>(), &want);
    check::<f32>("f32", |t, fetch| Plan::new(t, fetch, Memory::Planned).unwrap());
    check::<f64>("f64", |t, fetch| Plan::new(t, fetch, Memory::Planned).unwrap());
}

fn emulator() -> Option<Device> {
    // Nothing to run without nvcc: the gate builds with LAE_CUDA=require.
    (!kernels::KERNELS.is_empty()).then(|| Device::Gpu(Emulator::new(Options::default()), Precision::F32))
}

#[test]
fn the_kernels_round_as_torch() {
    let Some(device) = emulator() else { return };
    check::<f32>("emulator", |t, fetch| Plan::on(&device, t, fetch, Memory::Planned).unwrap());
}

/// A gradient through a cast, and the sum of two that meet in a bf16 value.
#[test]
fn gradients_round_as_torchs() {
    let (x, u, v): (Vec<f32>, Vec<f32>, Vec<f32>) = (words("x"), words("u"), words("v"));
    let devices = [Some(Device::Cpu), emulator()];
    for (device, twice) in devices.iter().flatten().flat_map(|d| [(d, false), (d, true)]) {
        let mut store = ParamStore::<f32>::new(0);
        let mut t = Tape::new(&store);
        let [a, b, c] = [(); 3].map(|()| t.input(Shape::vector(x.len())));
        let y = cast(&mut t, a, DType::Bf16).unwrap();
        let wide = cast(&mut t, y, DType::F32).unwrap();
        let mut loss = dot(&mut t, wide, b).unwrap();
        if twice {
            let wide = cast(&mut t, y, DType::F32).unwrap();
            let other = dot(&mut t, wide, c).unwrap();
            loss = add(&mut t, loss, other).unwrap();
        }
        let grads = t.backward(loss, &[a, y]).unwrap();
        let (dx, dy) = (grads.of(a).unwrap(), grads.of(y).unwrap());
        assert_eq!((t.dtype(dx), t.dtype(dy)), (DType::F32, DType::Bf16));
        let mut plan = Plan::on(device, t, &[dx, dy], Memory::Planned).unwrap();
        for (v, x) in [(a, &x), (b, &u), (c, &v)] {
            plan.feed(v).unwrap().copy_from_slice(x);
        }
        plan.run(&mut store).unwrap();
        let want: Vec<f32> = words(if twice { "dx2" } else { "dx" });
        assert_eq!(plan.fetch(dx).unwrap(), want, "{}, twice: {twice}", device.name());
        assert!(plan.fetch_bf16(dy).unwrap().iter().zip(&want).all(|(a, &b)| a.to_f32() == b));
    }
}

/// Torch's tensors into parameters, and parameters into torch's bits.
#[test]
fn weight_files_hold_what_torch_would_write() {
    let (file, x) = (golden(), words::<f32>("f32"));
    for (stored, wide) in [(Stored::Bf16, "wide_bf16"), (Stored::F16, "wide_f16"), (Stored::F32, "f32")] {
        let mut store = ParamStore::<f32>::new(0);
        let id = store.add("w", Shape::vector(x.len()), Kind::Trained, Form::Vector, Init::Constant(0.5));
        let view = file.tensor(stored.name()).unwrap();
        assert_eq!(view.dtype(), stored.dtype());
        let p = store.get(id).clone();
        from_torch(&p, &widened("w", &view).unwrap(), store.value_mut(id));
        let (want, written) = (words::<f32>(wide), stored.bytes(&x));
        for (i, (&got, &want)) in store.value(id).iter().zip(&want).enumerate() {
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{stored:?}: {got:e}, not {want:e}");
            let n = written.len() / x.len();
            let (a, b) = (&written[i * n..(i + 1) * n], &view.data()[i * n..(i + 1) * n]);
            assert!(a == b || x[i].is_nan(), "{stored:?}: {:e} is written {a:02x?}, torch has {b:02x?}", x[i]);
            assert_eq!(x[i].is_nan(), stored.round(x[i]).is_nan());
        }
        assert_eq!(written.len(), view.data().len());
    }
    assert_eq!(file.tensor("f16").unwrap().dtype(), Dtype::F16);
    assert!(words::<f16>("f16").iter().any(|x| x.is_infinite()) && words::<f16>("f16").iter().any(|x| !x.is_normal()));
}
