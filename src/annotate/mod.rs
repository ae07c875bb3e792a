//! A person masks what the active learner chose: one page on this machine, what it saves, and the formats of other programs.

mod clock;
pub mod desk;
pub mod first;
pub mod formats;
mod lease;
mod page;
pub mod queue;
pub mod runs;
pub mod server;
pub mod session;
pub mod store;
