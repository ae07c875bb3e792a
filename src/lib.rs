//! A small autodiff engine with hand-written kernels for the CPU and for NVIDIA GPUs, an emulator that proves the GPU kernels on
//! any machine, and a deepfake detector that stands on the engine end to end.
//!
//! The engine in five sentences:
//!
//! 1. An [`Op`] is one struct that knows the shapes of its outputs, what its backward pass reads, its host code and its launches.
//! 2. A [`Tape`] is a list of steps; [`Tape::backward`] appends further steps of the same ops.
//! 3. A [`Plan`] gives every value of that list a place in reused memory; running a plan is a loop over the steps.
//! 4. A [`Device`] is the host, or a driver with a few verbs; the CUDA driver and the PTX emulator get the very same launches.
//! 5. A table of cases beside each op feeds gradient checks, comparisons of devices and benchmarks.
//!
//! # A training loop
//!
//! A network of two layers learns which points of a square lie in a disc. The step (forward pass, gradients, update) is recorded
//! once and run three hundred times:
//!
//! ```
//! use lae_engine::core::rng::{Rng, stream};
//! use lae_engine::nn::{Initialisation, Layer, Mode, Net};
//! use lae_engine::ops::{adam::{Adam, adam}, bce_logits::bce_logits};
//! use lae_engine::{Device, Kind, Memory, ParamStore, Plan, Shape, Tape, shape};
//!
//! // A network is a table of rows. Building it adds its parameters to a store: net.0.weight, net.0.bias, net.2.weight, …
//! let mut store = ParamStore::new(0);
//! let rows = [Layer::Linear(16), Layer::Tanh, Layer::Linear(1)];
//! let net = Net::build(&mut store, "net", Shape::vector(2), &rows, Initialisation::TorchDefault, Kind::Trained)?;
//! let group = store.group("net");
//!
//! // One step on 64 points. A shape is batch, height, width, channels; a shape that does not fit is an error here, not in the loop.
//! let mut t = Tape::new(&store);
//! let (x, label) = (t.input(shape(64, 1, 1, 2)), t.input(shape(64, 1, 1, 1)));
//! let logits = net.run(&mut t, x, Mode::Train)?;
//! let loss = bce_logits(&mut t, logits, label)?;
//! let weights = t.trained(&group);
//! t.backward(loss, &weights)?;
//! let (optimiser, hyper) = (Adam::default(), t.input(Shape::vector(2)));
//! adam(&mut t, &group, optimiser.clone(), hyper)?;
//!
//! // "cpu", "emu" (the PTX emulator), "cuda", or "auto": a GPU if there is one that works. All lines above and below stay.
//! let (device, _) = Device::choose("cpu")?;
//! let mut plan = Plan::on(&device, t, &[loss], Memory::Planned)?;
//! let (mut points, mut losses) = (Rng::new(1, stream("points"), 0), Vec::new());
//! for step in 1..=300 {
//!     let batch: Vec<f32> = (0..128).map(|_| points.range(-1.0, 1.0)).collect();
//!     let inside: Vec<f32> = batch.chunks(2).map(|p| (p[0].hypot(p[1]) < 0.8) as u8 as f32).collect();
//!     plan.fill(x, &batch)?;
//!     plan.fill(label, &inside)?;
//!     plan.fill(hyper, &optimiser.hyper(0.05, step))?; // learning rate 0.05, corrected for this step
//!     plan.run(&mut store)?;
//!     losses.push(plan.scalar(loss)?);
//! }
//! assert!(losses[0] > 0.6 && losses[299] < 0.25, "{} to {}", losses[0], losses[299]);
//! # Ok::<(), lae_engine::Error>(())
//! ```
//!
//! What varies from step to step is an input, fed before each run: the batch, and here the two numbers into which
//! [`Adam::hyper`](ops::adam::Adam::hyper) turns the learning rate and the number of the step, counted from 1. [`ops::sgd`] is fed its learning rate alone.
//! [`train::recorder`] feeds inputs by name and the optimisers by itself: a step in fewer lines.
//! An input that is never filled is zeros. The weights stay in the store: to use the network, record it on a second tape over the
//! same store with [`Mode::Eval`](nn::Mode), make a plan that fetches its output, and run that plan with the store. After a run on a
//! GPU, [`ParamStore::pull`] brings the weights to the host; [`train::checkpoint`] saves and loads them. Losses: [`ops::bce_logits`],
//! [`ops::cross_entropy`], [`mse`](ops::difference::mse) and [`l1`](ops::difference::l1).
//!
//! # What lies where
//!
//! | module | what |
//! |---|---|
//! | [`core`] | shapes, [`Op`], [`Tape`], [`Plan`], [`ParamStore`], random numbers |
//! | [`ops`] | the operations, one file each: both passes on the host, their launches, their cases |
//! | [`nn`] | layers as rows of a table, networks as lists of rows |
//! | [`device`] | [`Device`], drivers (CUDA, emulator), the kernels that this build carries |
//! | [`host`] | convolutions on the CPU: blocked, with run-time choice of vector instructions |
//! | [`ptx`] | the PTX emulator: it stands apart from the engine and runs anybody's PTX |
//! | [`models`] | the networks of the papers, as tables |
//! | [`data`] | pictures, masks, forgers, data sets |
//! | [`train`] | the machine that trains any detector: recorded steps, the epoch loop, checkpoints, evaluation |
//! | [`detectors`] | the methods that can be trained, one entry each |
//! | [`reproduce`] | the paper's tables and figures: which trainings they need, what came out |
//! | [`metrics`], [`report`] | figures with intervals, the report as HTML and JSON |
//! | [`text`] | names as text that a terminal, a table and a configuration file can take |
//! | [`cli`] | the commands of the program `lae-engine` |
//!
//! The names that a first program needs are re-exported here; the rest is found in its module.
//!
//! # Where to go next
//!
//! The examples are numbered; `cargo run --example 01_gradient` runs the first.
//!
//! | example | what it shows |
//! |---|---|
//! | `01_gradient` | a gradient, and a difference quotient that agrees with it |
//! | `02_logistic` | logistic regression: the smallest training loop, without `nn` |
//! | `03_conv_net` | a convolutional network on built-in pictures, with batch norm and held-out accuracy |
//! | `04_new_op` | a new op with its CUDA kernel, both outside this crate, checked three ways |
//! | `05_devices` | one training step on the CPU, the emulator and a GPU, side by side |
//! | `06_emulator` | somebody else's PTX: a race is found, with its line |
//!
//! [`Op`] states its contract method by method. `docs/numerics.md` in the repository has the one tolerance and what is deterministic,
//! `docs/kernels.md` is a tour of the kernels, `docs/emulator.md` says what the emulator checks, `CONTRIBUTING.md` how things are added.

pub mod annotate;
pub mod cli;
pub mod core;
pub mod data;
pub mod detectors;
pub mod device;
pub mod error;
pub mod host;
pub mod metrics;
pub mod models;
pub mod nn;
pub mod ops;
pub mod profile;
pub mod report;
pub mod reproduce;
pub mod text;
pub mod train;

pub use crate::core::op::Op;
pub use crate::core::params::{Form, Group, Init, Kind, ParamStore};
pub use crate::core::plan::{Memory, Plan};
pub use crate::core::shape::{Shape, shape};
pub use crate::core::tape::{Tape, Var};
pub use device::Device;
pub use error::{Error, Result};
#[doc(inline)]
pub use lae_ptx as ptx;
