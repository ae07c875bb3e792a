//! `lae-engine doctor`: what this build and this machine can do, with a self-check of each device.

use crate::core::op::Element;
use crate::core::params::ParamStore;
use crate::core::plan::{Memory, Plan};
use crate::core::rng::{Rng, stream};
use crate::core::shape::shape;
use crate::core::tape::Tape;
use crate::device::kernels::{self, KERNELS};
use crate::device::{self, Device};
use crate::error::Result;
use crate::host::half;
use crate::ops::conv2d::{Conv2d, conv2d};
use crate::ops::dot::dot;
use crate::report::terminal::print;

/// Prints what this machine and this build can do. Exit code 1 if a self-check fails.
pub fn run() -> Result<i32> {
    let (version, system, machine) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    print(&format!("lae-engine {version} ({system}, {machine})\n"))?;
    let found = [("build", kernels::BUILD_REPORT.into()), ("kernels", kernels()), ("driver", driver())];
    for (what, text) in found.into_iter().chain([("cpu", device::cpu_features())]) {
        print(&format!("{what:<10} {text}\n"))?;
    }
    print(&format!("bf16       on the cpu {}; on a GPU see docs/kernels.md\n", half::bf16_on_cpu()))?;
    let (auto, why) = Device::choose("auto")?;
    let mut good = report(&Device::Cpu)?;
    if let Device::Gpu(driver, _) = &auto {
        good &= report(&auto)?;
        let path = match driver.sm_90a() {
            Ok(_) => format!("{} takes the kernels for sm_90a where they are the faster ones", driver.name()),
            Err(why) => format!("{} takes the kernels for sm_80, not those for sm_90a: {why}", driver.name()),
        };
        print(&format!("tf32       {path}\n"))?;
    }
    print(&format!("auto       --device auto takes: {why}\n"))?;
    Ok(if good { 0 } else { 1 })
}

/// Prints one line about the self-check of a device. True if the error is small.
fn report(device: &Device) -> Result<bool> {
    let verdict = self_check(device);
    let (words, good) = match verdict {
        Ok(worst) if worst < 1e-5 => (format!("largest relative error {worst:.1e}, ok"), true),
        Ok(worst) => (format!("largest relative error {worst:.1e}, FAILED"), false),
        Err(e) => (format!("{e}, FAILED"), false),
    };
    print(&format!("self-check {}: convolution against plain f64 loops, all three passes: {words}\n", device.name()))?;
    Ok(good)
}

/// Largest error of a convolution and its gradients, relative to the root mean square of the exact result. The
/// convolution runs three times, on a GPU launch by launch, recorded, and replayed; the last result counts.
fn self_check(device: &Device) -> Result<f64> {
    let exact = convolution(1, |t, fetch| Plan::<f64>::new(t, fetch, Memory::Planned))?;
    let found = convolution(3, |t, fetch| Plan::on(device, t, fetch, Memory::Planned))?;
    let error = |(found, exact): (&Vec<f64>, &Vec<f64>)| {
        let rms = (exact.iter().map(|e| e * e).sum::<f64>() / exact.len() as f64).sqrt();
        let error = |(f, e): (&f64, &f64)| if f.is_nan() { f64::INFINITY } else { (f - e).abs() / rms };
        found.iter().zip(exact).map(error).fold(0.0, f64::max)
    };
    Ok(found.iter().zip(&exact).map(error).fold(0.0, f64::max))
}

/// Runs a convolution `times` times, of sizes that no tile divides: the output and the gradients of picture and filter.
fn convolution<T: Element>(
    times: usize,
    plan: impl FnOnce(Tape, &[crate::core::tape::Var]) -> Result<Plan<T>>,
) -> Result<Vec<Vec<f64>>> {
    let mut store = ParamStore::<T>::new(0);
    let mut t = Tape::new(&store);
    let (x, w, u) = (t.input(shape(2, 17, 15, 19)), t.input(shape(37, 3, 3, 19)), t.input(shape(2, 9, 8, 37)));
    let y = conv2d(&mut t, x, w, None, Conv2d::new(2, 1))?;
    let loss = dot(&mut t, y, u)?;
    let grads = t.backward(loss, &[x, w])?;
    let results = [y, grads.of(x).expect("asked for"), grads.of(w).expect("asked for")];
    let mut plan = plan(t, &results)?;
    for (name, v) in [("x", x), ("w", w), ("u", u)] {
        let mut r = Rng::new(0, stream(name), 0);
        plan.feed(v)?.iter_mut().for_each(|x| *x = T::of(r.normal() as f64));
    }
    for _ in 0..times {
        plan.run(&mut store)?;
    }
    results.iter().map(|v| Ok(plan.fetch(*v)?.iter().map(|x| x.f64()).collect())).collect()
}

/// How many kernels the build carries, and for what.
fn kernels() -> String {
    if KERNELS.is_empty() {
        return "none".to_string();
    }
    let (major, minor) = kernels::PTX_VERSION;
    let code: Vec<String> = kernels::MODULES[0].cubins.iter().map(|c| format!("sm_{}", c.arch)).collect();
    let code = if code.is_empty() { "no machine code".to_string() } else { format!("machine code for {}", code.join(", ")) };
    format!(
        "{} in {} modules, PTX {major}.{minor}, {code}, {}; sources {:016x}",
        KERNELS.len(),
        kernels::MODULES.len(),
        needs(),
        kernels::SOURCES_HASH
    )
}

/// The driver and its GPUs, or what is wrong and what to do.
#[cfg(feature = "cuda")]
fn driver() -> String {
    let found = device::probe::probe();
    match found.remedy() {
        remedy if remedy.is_empty() => found.to_string(),
        remedy => format!("{found}; {remedy}"),
    }
}

/// Which driver the kernels need.
#[cfg(feature = "cuda")]
fn needs() -> String {
    let cuda = device::probe::needed();
    let driver = cuda.driver().map(|d| format!(" (driver {d} or newer)"));
    format!("needs CUDA {cuda}{}", driver.unwrap_or_default())
}

#[cfg(not(feature = "cuda"))]
fn driver() -> String {
    "not looked for: built without the feature `cuda`".to_string()
}
#[cfg(not(feature = "cuda"))]
fn needs() -> String {
    "for the emulator alone".to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes() {
        assert!(report(&Device::Cpu).unwrap());
    }

    #[test]
    fn the_emulator_passes() {
        if !KERNELS.is_empty() {
            assert!(report(&Device::choose("emu").unwrap().0).unwrap());
        }
    }
}
