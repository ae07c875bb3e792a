#!/usr/bin/env bash
# Formats every Rust file; with --check, fails if one is not. `cargo fmt` follows `mod` lines only and never sees the files that the
# macros `ops!` and `detectors!` declare.
set -euo pipefail
cd "$(dirname "$0")/.."
find src tests benches examples build build.rs ptx -name '*.rs' -print0 2> /dev/null | xargs -0 rustfmt --edition 2024 "$@"
