#!/usr/bin/env bash
# Everything that is checked, cheapest first. Needs Rust alone; ends with a short training by the real binary.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

step formatting
cargo fmt --check
step clippy
cargo clippy --locked --all-targets -- -D warnings
step documentation
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
step tests
cargo test --locked
step "benches, one pass each"
cargo bench --locked --bench kernels -- --test
cargo bench --locked --bench step -- --test
step "a short training"
run=$(mktemp -d)/run
trap 'rm -rf "$(dirname "$run")"' EXIT
cargo run --locked --release --quiet -- train --task inpainting --preset smoke --out "$run"
for f in config.toml metrics.jsonl stage1.safetensors model.safetensors selection.json report.html report.json; do
    test -s "$run/$f" || { echo "the run left no $f"; exit 1; }
done
cargo run --locked --release --quiet -- eval "$run" > /dev/null
cargo run --locked --release --quiet -- doctor
echo "all checks passed"
