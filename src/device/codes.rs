//! The driver's error codes in words, with what to do about those that people meet.

/// `(code, name in cuda.h, remedy)`.
const CODES: &[(i32, &str, &str)] = &[
    (1, "CUDA_ERROR_INVALID_VALUE", ""),
    (2, "CUDA_ERROR_OUT_OF_MEMORY", "halve train.batch, or free memory that other programs hold (nvidia-smi)"),
    (3, "CUDA_ERROR_NOT_INITIALIZED", ""),
    (34, "CUDA_ERROR_STUB_LIBRARY", "take the toolkit's stubs folder off the library path"),
    (
        46,
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        "another process holds the GPU exclusively; wait for it or choose another with --device cuda:N",
    ),
    (100, "CUDA_ERROR_NO_DEVICE", "check nvidia-smi -L and CUDA_VISIBLE_DEVICES"),
    (101, "CUDA_ERROR_INVALID_DEVICE", "check nvidia-smi -L and CUDA_VISIBLE_DEVICES"),
    (200, "CUDA_ERROR_INVALID_IMAGE", ""),
    (201, "CUDA_ERROR_INVALID_CONTEXT", ""),
    (209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "build with LAE_CUDA_ARCHS naming the GPU's architecture, or use --device cpu"),
    (214, "CUDA_ERROR_ECC_UNCORRECTABLE", "the GPU's memory has a hardware fault; reset it or use another"),
    (218, "CUDA_ERROR_INVALID_PTX", "build again with an nvcc no newer than the driver"),
    (
        221,
        "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
        "install libnvidia-ptxjitcompiler of the driver, or build with LAE_CUDA_ARCHS naming the GPU's architecture",
    ),
    (222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "update the driver, or build with an nvcc no newer than it"),
    (
        223,
        "CUDA_ERROR_JIT_COMPILATION_DISABLED",
        "unset CUDA_DISABLE_PTX_JIT, or build with LAE_CUDA_ARCHS naming the GPU's architecture",
    ),
    (304, "CUDA_ERROR_OPERATING_SYSTEM", "check that the container or sandbox may open /dev/nvidia*"),
    (400, "CUDA_ERROR_INVALID_HANDLE", ""),
    (500, "CUDA_ERROR_NOT_FOUND", ""),
    (700, "CUDA_ERROR_ILLEGAL_ADDRESS", FAULT),
    (701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "the kernel's registers or shared memory do not fit this GPU"),
    (
        702,
        "CUDA_ERROR_LAUNCH_TIMEOUT",
        "the GPU drives a display and its watchdog stopped a kernel; use a smaller train.batch or another GPU",
    ),
    (714, "CUDA_ERROR_HARDWARE_STACK_ERROR", FAULT),
    (715, "CUDA_ERROR_ILLEGAL_INSTRUCTION", FAULT),
    (716, "CUDA_ERROR_MISALIGNED_ADDRESS", FAULT),
    (717, "CUDA_ERROR_INVALID_ADDRESS_SPACE", FAULT),
    (718, "CUDA_ERROR_INVALID_PC", FAULT),
    (719, "CUDA_ERROR_LAUNCH_FAILED", FAULT),
    (802, "CUDA_ERROR_SYSTEM_NOT_READY", "start nvidia-fabricmanager"),
    (
        803,
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        "the kernel module and the user library are of different versions: reboot, or match the container toolkit",
    ),
    (
        804,
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        "the compatibility library does not fit this GPU: remove cuda-compat from the library path, or update the driver",
    ),
    (900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "set LAE_EAGER=1 to run without recording"),
    (901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "set LAE_EAGER=1 to run without recording"),
    (999, "CUDA_ERROR_UNKNOWN", "often after a suspend or a reload of the driver module: reboot"),
];

/// A kernel went wrong some time before the call that says so.
const FAULT: &str = "a kernel that was launched earlier went wrong and the GPU must be given up; LAE_EAGER=1 names the layer, --device emu \
                     the line";

fn find(code: i32) -> Option<&'static (i32, &'static str, &'static str)> {
    CODES.iter().find(|(c, ..)| *c == code)
}

/// `CUDA_ERROR_OUT_OF_MEMORY (2)`.
pub fn name(code: i32) -> String {
    match find(code) {
        Some((_, name, _)) => format!("{name} ({code})"),
        None => format!("CUDA error {code}"),
    }
}

/// What to do about it, where something can be done.
pub fn remedy(code: i32) -> Option<&'static str> {
    find(code).map(|(.., remedy)| *remedy).filter(|r| !r.is_empty())
}

/// Name and remedy in one line.
pub fn explain(code: i32) -> String {
    match remedy(code) {
        Some(remedy) => format!("{}: {remedy}", name(code)),
        None => name(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_people_meet_has_a_remedy() {
        for code in [2, 100, 101, 209, 222, 700, 803, 804, 999] {
            assert!(remedy(code).is_some(), "{}", name(code));
        }
        assert_eq!(explain(4711), "CUDA error 4711");
        assert!(CODES.windows(2).all(|w| w[0].0 < w[1].0), "in order, each once");
    }

    /// The names are those of the bindings.
    #[test]
    fn names_agree_with_the_bindings() {
        use cudarc::driver::sys::CUresult::*;
        let bound =
            [CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_UNSUPPORTED_PTX_VERSION, CUDA_ERROR_UNKNOWN];
        let later = [CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED];
        for c in bound.into_iter().chain(later) {
            assert_eq!(name(c as i32), format!("{c:?} ({})", c as i32));
        }
    }
}
