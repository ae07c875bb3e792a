//! The binary: all of it is in [`lae_engine::cli`].

fn main() {
    std::process::exit(lae_engine::cli::main());
}
