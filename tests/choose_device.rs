//! The device that a user gets, or the sentence about why not: the real binary against drivers in every state.
#![cfg(all(target_os = "linux", feature = "cuda"))]

mod fake;

use fake::Fake;
use lae_engine::device::{Device, kernels, probe};

const BINARY: &str = env!("CARGO_BIN_EXE_lae-engine");

/// Without kernels no GPU is asked for, so there is nothing to test; the gate builds with LAE_CUDA=require.
fn built() -> bool {
    if kernels::KERNELS.is_empty() {
        eprintln!("SKIP: this build has no kernels: {}", kernels::BUILD_REPORT);
    }
    !kernels::KERNELS.is_empty()
}

/// State, driver, its settings, the sentence, a word of the remedy.
type State = (&'static str, Fake, Vec<(&'static str, &'static str)>, &'static str, &'static str);

fn states() -> Vec<State> {
    vec![
        ("broken", Fake::garbage(), vec![], "libcuda.so: file too short", "install NVIDIA's driver"),
        ("empty", Fake::empty(), vec![], "libcuda.so is not an NVIDIA driver: it has no cuInit", "stubs folder"),
        (
            "stub",
            Fake::driver(),
            vec![("FAKE_INIT", "34")],
            "libcuda.so is not an NVIDIA driver: it is the toolkit's stub",
            "stubs folder",
        ),
        ("no device", Fake::driver(), vec![("FAKE_INIT", "100")], "the NVIDIA driver shows no GPU", "nvidia-smi -L"),
        ("count 0", Fake::driver(), vec![("FAKE_COUNT", "0")], "the NVIDIA driver shows no GPU", "nvidia-smi -L"),
        (
            "hidden",
            Fake::driver(),
            vec![("FAKE_COUNT", "0"), ("CUDA_VISIBLE_DEVICES", "7")],
            "the NVIDIA driver shows no GPU; CUDA_VISIBLE_DEVICES=7",
            "nvidia-smi -L",
        ),
        (
            "mismatch",
            Fake::driver(),
            vec![("FAKE_INIT", "803")],
            "the NVIDIA driver does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)",
            "reboot",
        ),
        ("suspend", Fake::driver(), vec![("FAKE_INIT", "999")], "CUDA_ERROR_UNKNOWN (999)", "reboot"),
        ("unknown", Fake::driver(), vec![("FAKE_INIT", "4711")], "CUDA error 4711", "--device cpu"),
        (
            "old",
            Fake::driver(),
            vec![("FAKE_VERSION", "11040")],
            "it has CUDA 11.4, this build needs CUDA 12",
            "update to driver 5",
        ),
        ("pascal", Fake::driver(), vec![("FAKE_ARCH", "61")], "which need sm_80 or newer: Fake 0 is sm_61", "--device cpu"),
    ]
}

#[test]
fn every_state_of_the_driver_has_its_sentence() {
    for (state, fake, settings, sentence, remedy) in states() {
        let out = fake.run(BINARY, &["doctor"], &settings);
        let text = String::from_utf8_lossy(&out.stdout);
        let driver = text.lines().find(|l| l.starts_with("driver ")).unwrap_or_else(|| panic!("{state}: {text}"));
        assert!(driver.contains(sentence) && driver.contains(remedy), "{state}: {driver}");
        assert!(out.status.success() && out.stderr.is_empty(), "{state}: {out:?}");
        assert!(text.lines().any(|l| l.starts_with("self-check cpu: ") && l.ends_with(", ok")), "{state}: {text}");
    }
}

/// Whatever this machine has: no driver, or one that works.
#[test]
fn without_a_fake_the_machine_speaks() {
    let out = std::process::Command::new(BINARY).arg("doctor").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let driver = text.lines().find(|l| l.starts_with("driver ")).unwrap();
    assert!(
        driver.contains("no NVIDIA driver: libcuda.so.1 not found; install") || driver.contains("driver with CUDA "),
        "{driver}"
    );
}

#[test]
fn a_gpu_that_was_asked_for_is_never_replaced() {
    if !built() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    for (state, fake, settings, sentence, remedy) in states() {
        let train = |device| {
            let args = ["train", "--task", "inpainting", "--preset", "smoke", "--device", device, "--out", run.to_str().unwrap()];
            fake.run(BINARY, &args, &settings)
        };
        let out = train("cuda");
        let error = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(3), "{state}: {error}");
        assert!(error.starts_with("error: device cuda is not available: "), "{state}: {error}");
        assert!(error.contains(sentence) && error.contains(remedy), "{state}: {error}");
        assert!(!run.exists(), "{state}: nothing is begun");
        // The same machine with auto: the CPU, and why, in the last line.
        let out = fake.run(BINARY, &["doctor"], &settings);
        let text = String::from_utf8_lossy(&out.stdout);
        let auto = text.lines().last().unwrap();
        assert!(auto.contains("takes: cpu (") && auto.contains(sentence), "{state}: {auto}");
    }
}

#[test]
fn names_of_devices() {
    let fake = Fake::driver();
    let doctor = |args: &[&str]| {
        let out = fake.run(BINARY, args, &[("FAKE_COUNT", "2")]);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let with = |device| doctor(&["train", "--task", "inpainting", "--preset", "smoke", "--device", device]);
    for wrong in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", ""] {
        let (code, error) = with(wrong);
        assert_eq!(code, Some(2), "{wrong}: {error}");
        assert!(error.contains("use auto, cpu, cuda, cuda:N or emu"), "{wrong}: {error}");
    }
    if built() {
        let (code, error) = with("cuda:2");
        assert_eq!(code, Some(3), "{error}");
        assert!(error.contains("no such GPU; visible are 2, CUDA_VISIBLE_DEVICES is not set; use cuda:0 to cuda:1"), "{error}");
    }
}

#[test]
fn a_driver_that_is_ready_is_taken() {
    if !built() {
        return;
    }
    fake::in_process("a_driver_that_is_ready_is_taken", &[("FAKE_COUNT", "2")], || {
        for (name, is) in [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")] {
            let (device, why) = Device::choose(name).unwrap();
            assert_eq!(device.name(), is);
            assert_eq!(why, format!("{is} Fake {}, sm_90, 3.0 GiB, driver with CUDA 12.4", &is[5..]));
        }
        assert_eq!(Device::choose("cpu").unwrap().0.name(), "cpu");
    });
}

/// `doctor` and the code that acts must not tell different stories.
#[test]
fn doctor_says_what_choose_does() {
    for (settings, ready) in [(vec![("FAKE_ARCH", "80")], true), (vec![("FAKE_VERSION", "11080")], false)] {
        let out = Fake::driver().run(BINARY, &["doctor"], &settings);
        let text = String::from_utf8_lossy(&out.stdout);
        let line = |word: &str| text.lines().find(|l| l.starts_with(word)).unwrap_or_else(|| panic!("no {word} in {text}"));
        assert!(line("build").ends_with(kernels::BUILD_REPORT), "{text}");
        let auto = text.lines().last().unwrap();
        match (ready, kernels::KERNELS.len()) {
            (_, 0) => {
                assert!(auto.contains("takes: cpu (") && auto.contains("no GPU kernels") && line("kernels").ends_with("none"))
            }
            (true, n) => {
                assert!(auto.contains("takes: cuda:0 Fake 0, sm_80"), "{auto}");
                // The fake's convolution does nothing, and that is told.
                let check = line("self-check cuda:0");
                assert!(check.ends_with(", FAILED") && out.status.code() == Some(1), "{text}");
                assert!(line("driver").ends_with("driver with CUDA 12.4; cuda:0 Fake 0, sm_80, 3.0 GiB"), "{text}");
                let needs = format!("needs CUDA {}", probe::needed());
                assert!(line("kernels").contains(&format!("{n} in ")) && line("kernels").contains(&needs), "{text}");
            }
            (false, _) => assert!(auto.contains("takes: cpu (") && auto.contains("driver is too old"), "{auto}"),
        }
    }
}

/// A whole training run through the driver. Its kernels do nothing, so the numbers mean nothing; but every launch has passed its
/// checks, all work was on live memory, and what was taken was given back.
#[test]
fn a_run_uses_the_driver_as_it_must() {
    if !built() {
        return;
    }
    let (fake, dir) = (Fake::driver(), tempfile::tempdir().unwrap());
    let (run, log) = (dir.path().join("run"), fake.log());
    let args = ["train", "--task", "inpainting", "--preset", "smoke", "--device", "cuda", "--out", run.to_str().unwrap()];
    let out = fake.run(BINARY, &args, &[("FAKE_LOG", log.to_str().unwrap())]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let calls = std::fs::read_to_string(&log).unwrap();
    let count = |name: &str| calls.lines().filter(|l| *l == name).count();
    let pairs = [
        ("cuMemAlloc_v2", "cuMemFree_v2"),
        ("cuMemHostAlloc", "cuMemFreeHost"),
        ("cuModuleLoadDataEx", "cuModuleUnload"),
        ("cuStreamCreate", "cuStreamDestroy_v2"),
        ("cuEventCreate", "cuEventDestroy_v2"),
        ("cuStreamBeginCapture_v2", "cuStreamEndCapture"),
        ("cuGraphInstantiateWithFlags", "cuGraphExecDestroy"),
        ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"),
    ];
    for (begin, end) in pairs {
        assert!(count(begin) > 0 && count(begin) == count(end), "{begin} {}, {end} {}", count(begin), count(end));
    }
    assert!(count("cuGraphLaunch") > count("cuStreamEndCapture"), "recordings are replayed");
    assert!(count("cuLaunchKernel") > 100);
}
