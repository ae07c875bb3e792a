//! After its first run, a plan allocates nothing: a training step with every kind of op is run under a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lae_engine::core::dtype::DType;
use lae_engine::core::params::{Form, Init, Kind, ParamId, ParamStore};
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::ops::activation::{leaky_relu, relu, sigmoid, tanh};
use lae_engine::ops::adam::{Adam, adam};
use lae_engine::ops::add::add;
use lae_engine::ops::affine::{affine, scale};
use lae_engine::ops::batch_norm::{BatchNormParams, batch_norm_eval, batch_norm_train};
use lae_engine::ops::bce_logits::bce_constant;
use lae_engine::ops::bilinear::bilinear;
use lae_engine::ops::cam_attention::{CamAttention, cam_attention};
use lae_engine::ops::cast::cast;
use lae_engine::ops::conv_transpose2d::{ConvTranspose2d, conv_transpose2d};
use lae_engine::ops::conv2d::{Conv2d, conv2d};
use lae_engine::ops::cross_entropy::cross_entropy;
use lae_engine::ops::difference::{l1, mse};
use lae_engine::ops::global_avg_pool::global_avg_pool;
use lae_engine::ops::latent::{Distance, latent_loss};
use lae_engine::ops::linear::linear;
use lae_engine::ops::max_pool::max_pool;
use lae_engine::ops::noise::{Noise, noise};

/// Counts calls that ask for memory, on any thread.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        unsafe { System.realloc(p, layout, size) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ADAM: Adam = Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

fn trained(store: &mut ParamStore<f32>, name: &str, s: Shape) -> ParamId {
    store.add(name, s, Kind::Trained, Form::Filter, Init::Normal { mean: 0.0, std: 0.1 })
}

/// An input and how its values are drawn.
type Feed = (Var, fn(&mut Rng) -> f32);

/// Encoder, head with attention and latent loss, decoder, a discriminator-like branch, a frozen branch, noise and Adam. Wide
/// enough that convolutions cut their work into several tasks and need their scratch.
fn record(t: &mut Tape, store: &mut ParamStore<f32>) -> (Var, Var, Vec<Feed>) {
    let filter = trained(store, "net.0.weight", shape(24, 4, 4, 3));
    let bias = trained(store, "net.0.bias", Shape::vector(24));
    let (gamma, beta) = (trained(store, "net.1.weight", Shape::vector(24)), trained(store, "net.1.bias", Shape::vector(24)));
    let square = trained(store, "net.2.weight", shape(24, 3, 3, 24));
    let (head, head_bias) =
        (trained(store, "net.3.weight", shape(16, 1, 1, 24)), trained(store, "net.3.bias", Shape::vector(16)));
    let up = trained(store, "net.4.weight", shape(24, 4, 4, 3));
    let last = trained(store, "net.5.weight", shape(2, 1, 1, 24));
    let depthwise = trained(store, "net.6.weight", shape(24, 3, 3, 1));
    let running = |store: &mut ParamStore<f32>, name: &str, value| {
        store.add(name, Shape::vector(24), Kind::Running, Form::Vector, Init::Constant(value))
    };
    let (mean, var) = (running(store, "net.1.mean", 0.0), running(store, "net.1.var", 1.0));
    *t = Tape::new(store);
    let mut p = |id| t.param(id);
    let bn = BatchNormParams { gamma: p(gamma), beta: p(beta), mean: p(mean), var: p(var) };
    let [filter, bias, square, head, head_bias] = [filter, bias, square, head, head_bias].map(&mut p);
    let [up, last, depthwise] = [up, last, depthwise].map(p);

    let n = 4;
    let x = t.input(shape(n, 32, 32, 3));
    let (step, hyper) = (t.input(Shape::SCALAR), t.input(Shape::vector(2)));
    let (mask, select) = (t.input(shape(n, 32, 32, 1)), t.input(shape(n, 1, 1, 1)));
    let (label, class) = (t.input(shape(n, 1, 1, 1)), t.input(shape(n, 1, 1, 1)));
    let mut losses = vec![];

    let noisy = noise(t, x, step, Noise { seed: 1, max_sigma: 5.0, clip: true }).unwrap();
    let centred = affine(t, noisy, &[2.0, 2.0, 2.0], &[-1.0, -1.0, -1.0]).unwrap();
    let a = conv2d(t, centred, filter, Some(bias), Conv2d::new(2, 1)).unwrap();
    let a = batch_norm_train(t, a, bn, 1.0).unwrap();
    let a = relu(t, a).unwrap();
    let d = Conv2d { groups: 24, ..Conv2d::new(1, 1) };
    let a = conv2d(t, a, depthwise, None, d).unwrap();
    let b = conv2d(t, a, square, None, Conv2d::new(1, 1)).unwrap();
    let f = relu(t, b).unwrap();
    let f = cast(t, f, DType::Bf16).unwrap();
    let f = cast(t, f, DType::F32).unwrap();
    let f = add(t, f, a).unwrap();
    let gap = global_avg_pool(t, f).unwrap();
    let z = linear(t, gap, head, Some(head_bias)).unwrap();
    losses.push(latent_loss(t, z, label, Distance::L1).unwrap().0);
    losses.push(cam_attention(t, CamAttention::default(), f, head, head_bias, mask, select).unwrap().loss);
    let y = conv_transpose2d(t, f, up, None, ConvTranspose2d { stride: 2, pad: 1 }).unwrap();
    let y = tanh(t, y).unwrap();
    losses.push(l1(t, y, centred).unwrap());
    let small = bilinear(t, y, 20, 20, false).unwrap();
    let small_x = bilinear(t, centred, 20, 20, false).unwrap();
    losses.push(mse(t, small, small_x).unwrap());
    let e = conv2d(t, y, filter, None, Conv2d::new(2, 1)).unwrap();
    let e = batch_norm_eval(t, e, bn, 1.0).unwrap();
    let e = leaky_relu(t, e, 0.2).unwrap();
    let e = max_pool(t, e, 2, 2).unwrap();
    let s = sigmoid(t, e).unwrap();
    losses.push(bce_constant(t, s, 1.0).unwrap());
    let pooled = global_avg_pool(t, s).unwrap();
    let logits = linear(t, pooled, last, None).unwrap();
    losses.push(cross_entropy(t, logits, class).unwrap());

    let mut loss = scale(t, losses[0], 0.5).unwrap();
    for &l in &losses[1..] {
        loss = add(t, loss, l).unwrap();
    }
    let wrt = t.trained(&store.group("net"));
    t.backward(loss, &wrt).unwrap();
    adam(t, &store.group("net"), ADAM, hyper).unwrap();
    let binary: fn(&mut Rng) -> f32 = |r| r.below(2) as f32;
    (loss, hyper, vec![(x, Rng::unit), (step, |_| 7.0), (mask, binary), (select, |_| 1.0), (label, binary), (class, binary)])
}

/// A thread makes the buffers of the blocked convolutions when it takes part in one for the first time, which chance may put off
/// for many runs. Here every thread does so before anything is counted.
fn one_convolution() {
    let mut store = ParamStore::<f32>::new(0);
    let mut t = Tape::new(&store);
    let (x, w) = (t.input(shape(1, 4, 4, 1)), t.input(shape(1, 3, 3, 1)));
    let y = conv2d(&mut t, x, w, None, Conv2d::new(1, 1)).unwrap();
    Plan::<f32>::new(t, &[y], Memory::Planned).unwrap().run(&mut store).unwrap();
}

#[test]
fn a_training_step_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    // Everything runs inside the pool, as training does: handing work from outside to a pool goes through rayon's own queue,
    // which takes a block of memory every 63 jobs.
    let (calls, losses) = pool.install(|| {
        rayon::broadcast(|_| one_convolution());
        let mut store = ParamStore::<f32>::new(3);
        let mut t = Tape::new(&store);
        let (loss, hyper, feeds) = record(&mut t, &mut store);
        let mut plan = Plan::<f32>::new(t, &[loss], Memory::Planned).unwrap();
        for (i, (v, draw)) in feeds.iter().enumerate() {
            let mut r = Rng::new(1, stream("feed"), i as u64);
            plan.feed(*v).unwrap().iter_mut().for_each(|x| *x = draw(&mut r));
        }
        // The rates of the first step serve for all.
        plan.feed(hyper).unwrap().copy_from_slice(&ADAM.hyper(1e-3, 1));
        plan.run(&mut store).unwrap();
        let mut losses = [plan.scalar(loss).unwrap(); 6];
        let before = CALLS.load(SeqCst);
        for l in &mut losses[1..] {
            plan.run(&mut store).unwrap();
            *l = plan.scalar(loss).unwrap();
        }
        (CALLS.load(SeqCst) - before, losses)
    });
    assert!(losses.iter().all(|l| l.is_finite()) && losses[5] < losses[0], "the step trains: {losses:?}");
    assert_eq!(calls, 0, "5 runs asked {calls} times for memory");
}
