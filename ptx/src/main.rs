//! The binary `lae-ptx`: all of it is in [`lae_ptx::cli`].

fn main() {
    std::process::exit(lae_ptx::cli::main());
}
