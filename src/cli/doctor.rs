use crate::core::rng::{Rng, stream};
use crate::device::kernels::{self, KERNELS};
use crate::device::{self, Device};
use crate::error::Result;
use crate::host::sizes::ConvSizes;
use crate::host::{conv, plain};

/// What this machine and this build can do. Exit code 1 if the self-check fails.
pub fn run() -> Result<i32> {
    println!("lae-engine {} ({}, {})", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    println!("build      {}", kernels::BUILD_REPORT);
    println!("kernels    {}", kernels());
    println!("driver     {}", driver());
    println!("cpu        {}", device::cpu_features());
    let worst = self_check();
    let good = worst < 1e-5;
    println!(
        "self-check convolution against plain f64 loops, all three passes: largest relative error {worst:.1e}, {}",
        if good { "ok" } else { "FAILED" }
    );
    println!("auto       --device auto takes: {}", Device::choose("auto")?.1);
    Ok(if good { 0 } else { 1 })
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

/// Largest error of the fast convolution, relative to the root mean square of the exact result.
fn self_check() -> f64 {
    let z = ConvSizes {
        n: 2,
        h: 17,
        w: 15,
        c: 19,
        k: 37,
        r: 3,
        s: 3,
        p: 9,
        q: 8,
        stride_h: 2,
        stride_w: 2,
        pad_h: 1,
        pad_w: 1,
        dil_h: 1,
        dil_w: 1,
        groups: 1,
    };
    let draw = |what: &str, n: usize| {
        let mut r = Rng::new(0, stream(what), 0);
        (0..n).map(|_| r.normal()).collect::<Vec<f32>>()
    };
    let wide = |x: &[f32]| x.iter().map(|&x| x as f64).collect::<Vec<f64>>();
    let (x, w, dy) = (draw("x", z.x().len()), draw("w", z.filters().len()), draw("dy", z.y().len()));
    let error = |fast: &[f32], exact: &[f64]| {
        let rms = (exact.iter().map(|e| e * e).sum::<f64>() / exact.len() as f64).sqrt();
        fast.iter().zip(exact).map(|(&f, e)| (f as f64 - e).abs() / rms).fold(0.0, f64::max)
    };
    let scratch = conv::fprop_scratch(&z).max(conv::dgrad_scratch(&z)).max(conv::wgrad_scratch(&z));
    let (mut s, mut y, mut y64) = (vec![0.0; scratch], vec![0.0; dy.len()], vec![0.0; dy.len()]);
    conv::fprop(&z, &x, &w, None, &mut y, &mut s);
    plain::fprop(&z, &wide(&x), &wide(&w), None, &mut y64);
    let (mut dx, mut dx64) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    conv::dgrad(&z, &dy, &w, None, &mut dx, &mut s);
    plain::dgrad(&z, &wide(&dy), &wide(&w), None, &mut dx64);
    let (mut dw, mut dw64) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    conv::wgrad(&z, &x, &dy, &mut dw, &mut s);
    plain::wgrad(&z, &wide(&x), &wide(&dy), &mut dw64);
    error(&y, &y64).max(error(&dx, &dx64)).max(error(&dw, &dw64))
}
