#!/usr/bin/env bash
# Everything that is checked, cheapest first; ends with a short training by the real binary. Needs Rust, a C compiler and Python 3.
# The kernels are part of what is checked, on the emulator: where there is no CUDA compiler, the pinned one is installed under
# target/cuda (no root, 300 MB, once). No GPU is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

# Places where build.rs looks before target/cuda. NVCC=... names another compiler.
has_nvcc() {
    [ -n "${NVCC:-}${CUDA_HOME:-}${CUDA_PATH:-}${CUDA_ROOT:-}${CUDA_TOOLKIT_ROOT_DIR:-}" ] && return
    command -v nvcc > /dev/null || compgen -G '/usr/local/cuda*/bin/nvcc' > /dev/null || [ -e /opt/cuda/bin/nvcc ] || [ -e /usr/lib/cuda/bin/nvcc ]
}
# Without nvcc no kernel is built, and nothing would be tested: that is a failure here, not a warning.
export LAE_CUDA=require

step "CUDA compiler"
if ! has_nvcc && ! compgen -G 'target/cuda/lib/python3*/site-packages/nvidia/cu13/bin/nvcc' > /dev/null; then
    wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-{cuda-crt,cuda-runtime,nvvm,cuda-cccl}==13.0.*)
    # Some distributions leave out the part of venv that brings pip.
    if python3 -m venv target/cuda; then
        target/cuda/bin/python -m pip install --quiet --disable-pip-version-check "${wheels[@]}"
    else
        python3 -m pip install --quiet --disable-pip-version-check --target target/cuda/lib/python3/site-packages "${wheels[@]}"
    fi
fi

step formatting
bash tests/format.sh --check
step clippy
cargo clippy --locked --all-targets -- -D warnings
LAE_CUDA=off cargo clippy --locked --lib --no-default-features -- -D warnings
cargo clippy --locked -p lae-ptx --all-targets -- -D warnings      # the emulator alone, without its commands
step documentation
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
step tests
cargo test --locked
step "the emulator's C interface and Python package"
cargo build --locked -p lae-ptx-c
c=$(mktemp -d)
"${CC:-cc}" -Wall -Wextra -Werror -std=c11 -D_GNU_SOURCE ptx/c/tests/smoke.c -Iptx/c/include -Ltarget/debug -llae_ptx_c -Wl,-rpath,"$PWD/target/debug" -o "$c/smoke"
"$c/smoke"
rm -r "$c"
if ! compgen -G 'target/python/lib/python3*/site-packages/numpy' > /dev/null; then
    python3 -m venv target/python && target/python/bin/python -m pip install --quiet --disable-pip-version-check 'numpy>=1.24,<3' ||
        python3 -m pip install --quiet --disable-pip-version-check --target target/python/lib/python3/site-packages 'numpy>=1.24,<3'
fi
for sites in target/python/lib/python3*/site-packages; do
    LAE_PTX_NUMPY=require PYTHONPATH="ptx/python:$sites" python3 -m unittest discover -s ptx/python/tests
done
step "the annotation page in a browser"
python3 tests/annotate/browser.py --masks 20 --kills 5      # says that it was skipped where there is no Chromium
# Each asserts what it shows. Without kernels two of them would do less than they say: LAE_CUDA=require rules that out.
examples=(examples/[0-9][0-9]_*.rs)
[ "${#examples[@]}" -ge 6 ] || { echo "six examples are promised, there are ${#examples[@]}"; exit 1; }
for file in "${examples[@]}"; do
    name=$(basename "$file" .rs)
    step "example $name"
    cargo run --locked --quiet --example "$name"
done
# As tests: a bench that is not told to measure does one pass. The release profile would compile everything a second time.
step "benches, one pass each"
cargo test --locked --bench kernels --bench step
cargo test --locked -p lae-ptx --bench emulator
step "a short training"
run=$(mktemp -d)/run
trap 'rm -rf "$(dirname "$run")"' EXIT
cargo run --locked --quiet -- train --task inpainting --preset smoke --out "$run"
for f in config.toml metrics.jsonl stage1.safetensors model.safetensors selection.json report.html report.json; do
    test -s "$run/$f" || { echo "the run left no $f"; exit 1; }
done
cargo run --locked --quiet -- eval "$run" > /dev/null
cargo run --locked --quiet -- doctor
echo "all checks passed"
