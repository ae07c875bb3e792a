//! A small network with everything that makes memory planning hard: weights used twice, gradients that meet, an optimiser on the
//! same tape, parameters that the loss does not reach. Planned memory must give the bits of plain memory.

use half::bf16;
use lae_engine::Error;
use lae_engine::core::dtype::DType;
use lae_engine::core::op::Element;
use lae_engine::core::params::{Arena, Form, Init, Kind, ParamId, ParamStore};
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::ops::Grads;
use lae_engine::ops::activation::{leaky_relu, relu, tanh};
use lae_engine::ops::adam::{Adam, adam};
use lae_engine::ops::add::add;
use lae_engine::ops::affine::scale;
use lae_engine::ops::batch_norm::{BatchNormParams, batch_norm_train};
use lae_engine::ops::cast::{Cast, cast};
use lae_engine::ops::conv_transpose2d::{ConvTranspose2d, conv_transpose2d};
use lae_engine::ops::conv2d::{Conv2d, conv2d};
use lae_engine::ops::difference::{l1, mse};
use lae_engine::ops::linear::linear;
use lae_engine::ops::softmax::Softmax;

const ADAM: Adam = Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

struct Net {
    store: ParamStore<f64>,
    ids: Vec<ParamId>,
    unused: ParamId,
}

fn net() -> Net {
    let mut store = ParamStore::new(5);
    let normal = Init::Normal { mean: 0.0, std: 0.3 };
    let mut ids = vec![];
    let mut p = |name: &str, s, kind, form, init| ids.push(store.add(name, s, kind, form, init));
    p("net.0.weight", shape(6, 3, 3, 3), Kind::Trained, Form::Filter, normal);
    p("net.0.bias", Shape::vector(6), Kind::Trained, Form::Vector, normal);
    p("net.1.weight", Shape::vector(6), Kind::Trained, Form::Vector, Init::Constant(1.0));
    p("net.1.bias", Shape::vector(6), Kind::Trained, Form::Vector, normal);
    p("net.1.mean", Shape::vector(6), Kind::Running, Form::Vector, Init::Constant(0.0));
    p("net.1.var", Shape::vector(6), Kind::Running, Form::Vector, Init::Constant(1.0));
    p("net.2.weight", shape(6, 3, 3, 6), Kind::Trained, Form::Filter, normal);
    p("net.3.weight", shape(6, 4, 4, 3), Kind::Trained, Form::Filter, normal);
    p("net.unused.weight", Shape::vector(7), Kind::Trained, Form::Vector, normal);
    let unused = ids[8];
    Net { store, ids, unused }
}

/// What the tests look at.
struct Step {
    x: Var,
    target: Var,
    hyper: Var,
    loss: Var,
    /// Values that are read once and then dead.
    early: Vec<Var>,
    grads: Grads,
}

/// Two passes through one shared 3×3 convolution, batch norm twice with the same parameters, a residual sum, a decoder, two losses.
fn record(t: &mut Tape, net: &Net) -> Step {
    let p: Vec<Var> = net.ids.iter().map(|&id| t.param(id)).collect();
    let (x, target, hyper) = (t.input(shape(2, 8, 10, 3)), t.input(shape(2, 8, 10, 3)), t.input(Shape::vector(2)));
    let bn = BatchNormParams { gamma: p[2], beta: p[3], mean: p[4], var: p[5] };
    let down = conv2d(t, x, p[0], Some(p[1]), Conv2d::new(2, 1)).unwrap();
    let first = batch_norm_train(t, down, bn, 1.0).unwrap();
    let a = relu(t, first).unwrap();
    let b = conv2d(t, a, p[6], None, Conv2d::new(1, 1)).unwrap();
    let second = batch_norm_train(t, b, bn, 1.0).unwrap();
    let c = leaky_relu(t, second, 0.2).unwrap();
    // The same filters again, and `a` a second time: three gradients meet in them.
    let d = conv2d(t, c, p[6], None, Conv2d::new(1, 1)).unwrap();
    let e = add(t, a, d).unwrap();
    let e = add(t, e, a).unwrap();
    let up = conv_transpose2d(t, e, p[7], None, ConvTranspose2d { stride: 2, pad: 1 }).unwrap();
    let y = tanh(t, up).unwrap();
    let (one, two) = (l1(t, y, target).unwrap(), mse(t, y, target).unwrap());
    let two = scale(t, two, 0.5).unwrap();
    let loss = add(t, one, two).unwrap();
    let wrt = t.trained(&net.store.group("net"));
    let grads = t.backward(loss, &wrt).unwrap();
    adam(t, &net.store.group("net"), ADAM, hyper).unwrap();
    Step { x, target, hyper, loss, early: vec![first, second, d, up], grads }
}

fn feed<T: Element>(plan: &mut Plan<T>, v: Var, seed: u64) {
    let mut r = Rng::new(seed, stream("plan"), 0);
    plan.feed(v).unwrap().iter_mut().for_each(|x| *x = T::of(r.normal() as f64));
}

/// Losses of three steps, and all arenas after them.
fn train<T: Element>(memory: Memory) -> (Vec<f64>, ParamStore<T>, usize) {
    let net = net();
    let mut store: ParamStore<T> = net.store.cast();
    let mut t = Tape::new(&store);
    let s = record(&mut t, &net);
    let mut plan = Plan::<T>::new(t, &[s.loss], memory).unwrap();
    plan.audit(&[s.loss]).unwrap();
    let losses = (1..=3).map(|step| {
        feed(&mut plan, s.x, step);
        feed(&mut plan, s.target, step + 100);
        plan.feed(s.hyper).unwrap().iter_mut().zip(ADAM.hyper(0.01, step)).for_each(|(d, h)| *d = T::of(h as f64));
        plan.run(&mut store).unwrap();
        plan.scalar(s.loss).unwrap()
    });
    (losses.collect(), store, plan.bytes())
}

const ALL: [Arena; 6] = [Arena::Weights, Arena::Grads, Arena::M, Arena::V, Arena::Frozen, Arena::Running];

#[test]
fn planned_memory_gives_the_bits_of_plain_memory() {
    let (a, b) = (train::<f32>(Memory::Planned), train::<f32>(Memory::Eager));
    assert_eq!(a.0, b.0);
    assert!(a.0.iter().all(|l| l.is_finite()) && a.0[0] != a.0[1]);
    for arena in ALL {
        let bits = |s: &ParamStore<f32>| s.arena(arena).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&a.1), bits(&b.1), "{arena:?}");
    }
    let (a, b) = (train::<f64>(Memory::Planned), train::<f64>(Memory::Eager));
    assert_eq!(a.0, b.0);
    ALL.iter().for_each(|&arena| assert_eq!(a.1.arena(arena), b.1.arena(arena), "{arena:?}"));
}

#[test]
fn thread_count_does_not_change_a_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train::<f32>(Memory::Planned))
    };
    let one = run(1);
    for threads in 2..=4 {
        let other = run(threads);
        assert_eq!(one.0, other.0, "{threads} threads");
        ALL.iter().for_each(|&a| assert_eq!(one.1.arena(a), other.1.arena(a), "{threads} threads, {a:?}"));
    }
}

#[test]
fn planning_reuses_memory() {
    let (planned, plain) = (train::<f32>(Memory::Planned).2, train::<f32>(Memory::Eager).2);
    assert!(planned * 10 < plain * 6, "planned {planned} bytes, plain {plain}");
}

/// The whole step against difference quotients: shared filters, shared normalisation and the residual sum add up.
#[test]
fn gradients_of_shared_parameters_add_up() {
    let mut net = net();
    let mut t = Tape::new(&net.store);
    let s = record(&mut t, &net);
    let mut plan = Plan::<f64>::new(t, &[s.loss], Memory::Planned).unwrap();
    feed(&mut plan, s.x, 1);
    feed(&mut plan, s.target, 2);
    // A rate of zero: gradients are left in the arena and the weights stay.
    plan.feed(s.hyper).unwrap().copy_from_slice(&[0.0, 1.0]);
    plan.run(&mut net.store).unwrap();
    for &id in &net.ids {
        let p = net.store.get(id).clone();
        if p.kind != Kind::Trained {
            continue;
        }
        let grad = net.store.grad(id).to_vec();
        let size = grad.iter().fold(0.0f64, |a, g| a.max(g.abs()));
        for i in (0..grad.len()).step_by(grad.len().div_ceil(12)) {
            const H: f64 = 1e-7;
            let mut loss = |h: f64| {
                let old = net.store.value(id)[i];
                net.store.value_mut(id)[i] = old + h;
                plan.run(&mut net.store).unwrap();
                net.store.value_mut(id)[i] = old;
                plan.scalar(s.loss).unwrap()
            };
            let numeric = (loss(H) - loss(-H)) / (2.0 * H);
            assert!((grad[i] - numeric).abs() < 1e-6 * (size + 1e-2), "{}[{i}]: {} against {numeric}", p.name, grad[i]);
        }
    }
}

#[test]
fn parameters_that_the_loss_ignores_get_a_zero_gradient() {
    let net = net();
    let mut store = net.store.cast::<f32>();
    store.arena_mut(Arena::Grads).fill(f32::NAN);
    // Padding between parameters holds no gradient; it stays as it is born.
    let mut t = Tape::new(&store);
    let s = record(&mut t, &net);
    let unused = t.param(net.unused);
    assert!(s.grads.of(unused).is_some());
    let mut plan = Plan::<f32>::new(t, &[s.loss], Memory::Planned).unwrap();
    plan.run(&mut store).unwrap();
    assert!(store.grad(net.unused).iter().all(|&g| g == 0.0));
    net.ids.iter().filter(|&&id| store.get(id).kind == Kind::Trained).for_each(|&id| {
        assert!(store.grad(id).iter().all(|g| g.is_finite()), "{} was not written", store.get(id).name);
    });
}

/// A value that must live to the end, in a plan that was not told so: its slot is used again, and the audit sees it.
#[test]
fn audit_sees_a_shared_slot() {
    let net = net();
    let mut t = Tape::new(&net.store);
    let s = record(&mut t, &net);
    let plan = Plan::<f32>::new(t.clone(), &[s.loss], Memory::Planned).unwrap();
    plan.audit(&[s.loss]).unwrap();
    for early in &s.early {
        let why = plan.audit(&[s.loss, *early]).unwrap_err();
        assert!(why.contains("share buffer"), "{why}");
    }
    // Told in time, the plan keeps them.
    let keep: Vec<Var> = s.early.iter().copied().chain([s.loss]).collect();
    Plan::<f32>::new(t.clone(), &keep, Memory::Planned).unwrap().audit(&keep).unwrap();
    Plan::<f32>::new(t, &[], Memory::Eager).unwrap().audit(&keep).unwrap();
}

/// Reading a gradient does not disturb the others, and an input's gradient is there when asked for.
#[test]
fn gradients_of_inputs_can_be_fetched() {
    let net = net();
    let mut t = Tape::new(&net.store);
    let w = t.param(net.ids[0]);
    let x = t.input(shape(1, 4, 4, 3));
    let y = conv2d(&mut t, x, w, None, Conv2d::new(1, 1)).unwrap();
    let zero = t.input(shape(1, 4, 4, 6));
    let loss = mse(&mut t, y, zero).unwrap();
    let g = t.backward(loss, &[x]).unwrap();
    assert!(g.of(w).is_none(), "nobody asked for the filters");
    let dx = g.of(x).unwrap();
    let mut store = net.store;
    let mut plan = Plan::<f64>::new(t, &[dx], Memory::Planned).unwrap();
    feed(&mut plan, x, 1);
    plan.run(&mut store).unwrap();
    assert!(plan.fetch(dx).unwrap().iter().any(|&g| g != 0.0));
}

/// What was not asked for in time is refused, and so is a value of another tape.
#[test]
fn only_what_was_asked_for_is_fetched() {
    let net = net();
    let mut t = Tape::new(&net.store);
    let s = record(&mut t, &net);
    let mut other = Tape::new(&net.store);
    let foreign = other.input(shape(2, 8, 10, 3));
    assert!(shape_error(relu(&mut t, foreign)).contains("belongs to another tape"));
    assert!(shape_error(t.backward(s.loss, &[foreign])).contains("belongs to another tape"));
    assert!(shape_error(Plan::<f32>::new(t.clone(), &[foreign], Memory::Planned).map(drop)).contains("belongs to another tape"));
    let mut plan = Plan::<f32>::new(t, &[s.loss], Memory::Planned).unwrap();
    assert!(plan.fetch(s.loss).is_ok() && plan.fetch(s.x).is_ok());
    assert!(shape_error(plan.fetch(s.early[0]).map(drop)).contains("was not in the list"));
    assert!(shape_error(plan.fetch(foreign).map(drop)).contains("belongs to another tape"));
    assert!(shape_error(plan.feed(s.loss).map(drop)).contains("only inputs are fed"));
    assert!(shape_error(plan.feed(foreign).map(drop)).contains("belongs to another tape"));
}

#[test]
#[should_panic(expected = "at most 4,294,967,295")]
fn a_side_beyond_32_bits_is_not_cut() {
    shape(1, 1, 1 << 32, 1);
}

/// An optimiser updates its group as one range: a parameter of another group in between is refused.
#[test]
fn a_group_lies_together() {
    let mut store = ParamStore::<f32>::new(0);
    for name in ["a.w", "b.w", "a.v", "ab.w"] {
        store.add(name, Shape::vector(3), Kind::Trained, Form::Vector, Init::Constant(0.0));
    }
    let (a, b) = (store.group("a"), store.group("b"));
    assert_eq!((a.ids().len(), b.ids().len(), store.count(&a, Kind::Trained)), (2, 1, 6));
    assert!(shape_error(store.range(&a)).contains("b.w lies between the parameters of the group of a.w"));
    assert_eq!(store.range(&b).unwrap(), 16..32);
    assert_eq!(store.range(&a.and(&b)).unwrap(), 0..48);
}

fn shape_error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let e = result.unwrap_err();
    assert!(matches!(e, Error::Shape { .. }), "{e:?}");
    e.to_string()
}

#[test]
fn backward_of_a_picture_is_an_error_that_names_the_layer() {
    let store = ParamStore::<f32>::new(0);
    let mut t = Tape::new(&store);
    let x = t.input(shape(2, 4, 4, 3));
    let y = relu(&mut t, x).unwrap();
    let e = t.scope("lae", |t| t.scope("stage1", |t| shape_error(t.backward(y, &[x]))));
    assert_eq!(e, "lae.stage1: backward: the loss must be one number, not 2×4×4×3");
    assert_eq!(shape_error(t.backward(y, &[x])), "backward: the loss must be one number, not 2×4×4×3");
}

/// The order of adversarial training gone wrong: a second gradient through weights that an optimiser has changed since.
#[test]
fn gradient_through_changed_weights_is_an_error() {
    let mut store = ParamStore::<f32>::new(0);
    let w = store.add("d.weight", shape(2, 3, 3, 3), Kind::Trained, Form::Filter, Init::Constant(0.1));
    let mut t = Tape::new(&store);
    let (x, hyper) = (t.input(shape(1, 4, 4, 3)), t.input(Shape::vector(2)));
    let zero = t.input(shape(1, 4, 4, 2));
    let w = t.param(w);
    let forward = |t: &mut Tape| {
        let y = t.scope("d", |t| conv2d(t, x, w, None, Conv2d::new(1, 1))).unwrap();
        mse(t, y, zero).unwrap()
    };
    let first = forward(&mut t);
    t.backward(first, &[w]).unwrap();
    adam(&mut t, &store.group("d"), ADAM, hyper).unwrap();
    let e = shape_error(t.clone().backward(first, &[x]));
    assert_eq!(e, "d: conv2d: adam changes input 1 before its gradient is taken; record the forward pass again after it");
    // The gradient of the filters alone reads only x, which nobody changed.
    t.clone().backward(first, &[w]).unwrap();
    let again = forward(&mut t);
    t.backward(again, &[x]).unwrap();
}

#[test]
fn shape_errors_name_op_layer_and_both_shapes() {
    let store = ParamStore::<f32>::new(0);
    let mut t = Tape::new(&store);
    let x = t.input(shape(32, 32, 32, 64));
    let w = t.input(shape(128, 4, 4, 128));
    let bias = t.input(Shape::vector(7));
    let picture = t.input(shape(32, 64, 64, 3));
    let matrix = t.input(shape(128, 1, 1, 512));
    let in_layer = |t: &mut Tape, f: &dyn Fn(&mut Tape) -> Result<Var, Error>| {
        t.scope("lae", |t| t.scope("encoder", |t| t.scope("2", |t| shape_error(f(t)))))
    };
    let conv = in_layer(&mut t, &|t| conv2d(t, x, w, None, Conv2d::new(2, 1)));
    assert_eq!(conv, "lae.encoder.2: conv2d: input has 64 channels, filter expects 128 (x 32×32×32×64, w 128×4×4×128)");
    let up = in_layer(&mut t, &|t| conv_transpose2d(t, picture, w, None, ConvTranspose2d { stride: 2, pad: 1 }));
    assert_eq!(up, "lae.encoder.2: conv_transpose2d: input has 3 channels, filter expects 128 (x 32×64×64×3, w 128×4×4×128)");
    let lin = in_layer(&mut t, &|t| linear(t, x, matrix, None));
    assert!(lin.starts_with("lae.encoder.2: linear: input has 65536 values per picture, matrix expects 512"), "{lin}");
    assert!(lin.contains("32×32×32×64") && lin.contains("128×1×1×512"), "{lin}");
    let sum = in_layer(&mut t, &|t| add(t, x, picture));
    assert!(sum.starts_with("lae.encoder.2: add:") && sum.contains("32×32×32×64") && sum.contains("32×64×64×3"), "{sum}");
    let loss = in_layer(&mut t, &|t| l1(t, x, picture));
    assert!(loss.starts_with("lae.encoder.2: l1:") && loss.contains("32×32×32×64") && loss.contains("32×64×64×3"), "{loss}");
    let b = in_layer(&mut t, &|t| conv2d(t, w, w, Some(bias), Conv2d::new(1, 1)));
    assert_eq!(b, "lae.encoder.2: conv2d: bias has 7 values for 128 filters");
    // Nothing was recorded.
    assert!(t.cost().is_empty());
}

/// A network that keeps what lies between its layers in bf16: two inputs of one shape, the loss one number.
struct Mixed {
    x: Var,
    half: Var,
    small: [Var; 2],
    loss: Var,
    dx: Var,
    dhalf: Var,
}

fn mixed(t: &mut Tape, s: Shape) -> Mixed {
    let (x, half) = (t.input(s), t.input_of(s, DType::Bf16));
    let wide = cast(t, half, DType::F32).unwrap();
    let a = add(t, x, wide).unwrap();
    let one = cast(t, a, DType::Bf16).unwrap();
    let b = cast(t, one, DType::F32).unwrap();
    let b = tanh(t, b).unwrap();
    let two = cast(t, b, DType::Bf16).unwrap();
    // `half` and `two` are read twice: two gradients meet in each.
    let (c, d, e) = (cast(t, two, DType::F32).unwrap(), cast(t, two, DType::F32).unwrap(), cast(t, half, DType::F32).unwrap());
    let (first, second) = (mse(t, c, x).unwrap(), l1(t, d, e).unwrap());
    let loss = add(t, first, second).unwrap();
    let grads = t.backward(loss, &[x, half]).unwrap();
    Mixed { x, half, small: [one, two], loss, dx: grads.of(x).unwrap(), dhalf: grads.of(half).unwrap() }
}

/// Two runs on `device`: loss, dx, dhalf and the bf16 value `small[0]` of each; and the plan's bytes.
fn run_mixed<T: Element>(make: impl Fn(Tape, &[Var]) -> Plan<T>) -> (Vec<Vec<f64>>, usize) {
    // An odd number of values: their bytes in bf16 are no whole number of f32.
    let (mut store, s) = (ParamStore::<T>::new(0), shape(1, 3, 5, 7));
    let mut t = Tape::new(&store);
    let m = mixed(&mut t, s);
    assert_eq!([m.x, m.half, m.small[0], m.dx, m.dhalf].map(|v| t.dtype(v) == DType::Bf16), [false, true, true, false, true]);
    let fetch = [m.loss, m.dx, m.dhalf, m.small[0]];
    let mut plan = make(t, &fetch);
    plan.audit(&fetch).unwrap();
    let (mut r, mut out) = (Rng::new(9, stream("mixed"), 0), vec![]);
    for _ in 0..3 {
        plan.feed(m.x).unwrap().iter_mut().for_each(|x| *x = T::of(r.normal() as f64));
        plan.feed_bf16(m.half).unwrap().iter_mut().for_each(|x| *x = bf16::from_f32(r.normal()));
        plan.run(&mut store).unwrap();
        out.push(vec![plan.scalar(m.loss).unwrap()]);
        out.push(plan.fetch(m.dx).unwrap().iter().map(|x| x.f64()).collect());
        out.extend([m.dhalf, m.small[0]].map(|v| plan.fetch_bf16(v).unwrap().iter().map(|x| x.to_f64()).collect()));
    }
    (out, plan.bytes())
}

#[test]
fn bf16_values_share_slots_with_others_and_lose_nothing() {
    let plan = |memory| move |t: Tape, fetch: &[Var]| Plan::<f32>::new(t, fetch, memory).unwrap();
    let (planned, eager) = (run_mixed(plan(Memory::Planned)), run_mixed(plan(Memory::Eager)));
    assert_eq!(planned.0, eager.0);
    assert!(planned.1 < eager.1 && planned.0.iter().flatten().all(|x| x.is_finite()), "{} {}", planned.1, eager.1);
    assert!(planned.0[0] != planned.0[4] && planned.0[2].iter().any(|&x| x != 0.0));
    let oracle = |memory| run_mixed(|t, fetch| Plan::<f64>::new(t, fetch, memory).unwrap()).0;
    let exact = oracle(Memory::Planned);
    assert_eq!(exact, oracle(Memory::Eager));
    // The oracle rounds to bf16 where the tape says so: x + half, exact in f64, gives the very bits that f32 gives, unless the sum's
    // own rounding crosses a tie.
    let apart = exact[3].iter().zip(&planned.0[3]).filter(|(a, b)| a != b).count();
    assert!(apart <= 1, "{apart} of {}", exact[3].len());
}

/// The host against the kernels: looped, recorded, replayed.
#[test]
fn bf16_values_have_the_same_bits_on_the_emulator() {
    use lae_engine::device::emu::{Emulator, Options};
    use lae_engine::device::{Device, Precision, kernels};
    if kernels::KERNELS.is_empty() {
        return; // built without nvcc: nothing to run (the gate builds with LAE_CUDA=require)
    }
    let run = |device: &Device| run_mixed(|t, fetch| Plan::on(device, t, fetch, Memory::Planned).unwrap()).0;
    let (device, host) = (run(&Device::Gpu(Emulator::new(Options::default()), Precision::F32)), run(&Device::Cpu));
    // The loss itself is a sum, whose order differs.
    for (a, b) in device.chunks(4).zip(host.chunks(4)) {
        assert_eq!(a[1..], b[1..]);
    }
}

#[test]
fn an_op_that_knows_f32_alone_refuses_bf16_by_name() {
    let store = ParamStore::<f32>::new(0);
    let mut t = Tape::new(&store);
    let s = shape(1, 2, 2, 3);
    let (x, half) = (t.input(s), t.input_of(s, DType::Bf16));
    let why = t.scope("net.2", |t| shape_error(t.apply(Softmax { temperature: 1.0 }, &[half])));
    assert_eq!(why, "net.2: softmax: takes f32 values, got bf16 for input 0; cast it first (ops::cast)");
    let why = t.scope("net.2", |t| shape_error(add(t, x, half)));
    assert_eq!(why, "net.2: add: takes values of one type, got bf16 for input 1 behind f32; cast one of them first (ops::cast)");
    // A cast to the type that a value has is no step.
    assert_eq!(cast(&mut t, half, DType::Bf16).unwrap(), half);
    let again = t.apply(Cast { to: DType::Bf16 }, &[half]);
    assert!(shape_error(again).contains("cast: the value is bf16 already"));
    let one = t.input_of(Shape::SCALAR, DType::Bf16);
    assert!(shape_error(t.backward(one, &[one])).contains("the loss must be f32, not bf16"));
}

#[test]
fn a_value_is_fed_and_fetched_in_its_own_type() {
    let store = ParamStore::<f32>::new(0);
    let mut t = Tape::new(&store);
    let s = shape(1, 1, 1, 3);
    let (x, half) = (t.input(s), t.input_of(s, DType::Bf16));
    let y = cast(&mut t, x, DType::Bf16).unwrap();
    let z = cast(&mut t, half, DType::F32).unwrap();
    let mut plan = Plan::<f32>::new(t, &[y, z], Memory::Planned).unwrap();
    assert_eq!(shape_error(plan.feed(half).map(|_| ())), "feed: value 1 (1×1×1×3) is bf16, not f32: use feed_bf16");
    assert_eq!(shape_error(plan.feed_bf16(x).map(|_| ())), "feed_bf16: value 0 (1×1×1×3) is f32, not bf16: use feed");
    assert_eq!(shape_error(plan.fetch(y).map(|_| ())), "fetch: value 2 (1×1×1×3) is bf16, not f32: use fetch_bf16");
    assert_eq!(shape_error(plan.fetch_bf16(z).map(|_| ())), "fetch_bf16: value 3 (1×1×1×3) is f32, not bf16: use fetch");
    assert!(shape_error(plan.scalar(y)).contains("use fetch_bf16"));
    assert!(shape_error(plan.feed_bf16(y).map(|_| ())).contains("is no input"));
}

/// A tape that keeps activations in bf16: what is rounded, and where gradients are f32. Two layers of one filter, which is updated
/// between them.
#[test]
fn activations_in_bf16_leave_parameters_and_their_gradients_in_f32() {
    let (s, mut r) = (shape(2, 4, 4, 3), Rng::new(5, stream("half"), 0));
    let draw = |n: usize, r: &mut Rng| -> Vec<f32> { (0..n).map(|_| r.normal()).collect() };
    let (picture, weights) = (draw(s.len(), &mut r), draw(27 * 3, &mut r));
    let rounded = |v: &[f32]| -> Vec<f64> { v.iter().map(|x| bf16::from_f32(*x).to_f64()).collect() };
    let mut store = ParamStore::<f32>::new(0);
    store.activations = DType::Bf16;
    let w = store.add("net.w", shape(3, 3, 3, 3), Kind::Trained, Form::Filter, Init::Constant(0.0));
    store.value_mut(w).copy_from_slice(&weights);
    let group = store.group("net");
    let mut t = Tape::new(&store);
    let (x, hyper) = (t.input(s), t.input(Shape::vector(2)));
    let filter = t.param(w);
    let y = conv2d(&mut t, x, filter, None, Conv2d::new(1, 1)).unwrap();
    let z = relu(&mut t, y).unwrap();
    // Twice the same copy of the filter, so that its gradient is a sum of two.
    let z = conv2d(&mut t, z, filter, None, Conv2d::new(1, 1)).unwrap();
    let loss = mse(&mut t, z, x).unwrap();
    assert_eq!([y, z, loss].map(|v| t.dtype(v)), [DType::Bf16, DType::Bf16, DType::F32]);
    let dw = t.backward(loss, &[filter]).unwrap().of(filter).unwrap();
    assert_eq!(t.dtype(dw), DType::F32);
    adam(&mut t, &group, Adam::default(), hyper).unwrap();
    let after = conv2d(&mut t, x, filter, None, Conv2d::new(1, 1)).unwrap();
    let exact = t.keeping(DType::F32, |t| conv2d(t, x, filter, None, Conv2d::new(1, 1))).unwrap();
    assert_eq!([after, exact].map(|v| t.dtype(v)), [DType::Bf16, DType::F32]);
    let mut plan = Plan::<f32>::new(t, &[y, after, exact], Memory::Planned).unwrap();
    plan.fill(x, &picture).unwrap();
    plan.fill(hyper, &Adam::default().hyper(0.5, 1)).unwrap();
    plan.run(&mut store).unwrap();
    assert_ne!(plan.fetch_bf16(y).unwrap(), plan.fetch_bf16(after).unwrap(), "the filter was copied again after its update");
    assert!(store.grad(w).iter().any(|g| bf16::from_f32(*g).to_f32() != *g), "gradients of filters are not rounded");
    // Against f64 from rounded operands.
    let first = |filter: &[f64], picture: &[f64]| {
        let mut exact = ParamStore::<f64>::new(0);
        let mut t = Tape::new(&exact);
        let (x, w) = (t.input(s), t.input(shape(3, 3, 3, 3)));
        let y = conv2d(&mut t, x, w, None, Conv2d::new(1, 1)).unwrap();
        let mut plan = Plan::<f64>::new(t, &[y], Memory::Planned).unwrap();
        plan.fill(x, picture).unwrap();
        plan.fill(w, filter).unwrap();
        plan.run(&mut exact).unwrap();
        plan.fetch(y).unwrap().to_vec()
    };
    let near = |a: f64, b: f64, unit: f64| (a - b).abs() <= unit * b.abs() + 1e-5;
    let want = first(&rounded(&weights), &rounded(&picture));
    assert!(plan.fetch_bf16(y).unwrap().iter().zip(&want).all(|(a, b)| near(a.to_f64(), *b, 1.0 / 256.0)));
    let want = first(&rounded(store.value(w)), &rounded(&picture));
    assert!(plan.fetch_bf16(after).unwrap().iter().zip(&want).all(|(a, b)| near(a.to_f64(), *b, 1.0 / 256.0)));
    let [w, x]: [Vec<f64>; 2] = [store.value(w), &picture].map(|v| v.iter().map(|x| *x as f64).collect());
    assert!(plan.fetch(exact).unwrap().iter().zip(&first(&w, &x)).all(|(a, b)| near(*a as f64, *b, 0.0)));
}
