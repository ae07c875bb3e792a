//! `lae-engine reproduce`: the tables and figures of the LAE paper, each from as many seeds as asked for, by one command.
//!
//! ```text
//! reproduce.toml                    what was asked for: the same command with --resume goes on
//! settings/DETECTOR.toml            the configuration over the preset that all runs of a detector share
//! runs/JOB-SEED/                    a run folder each, as `train` makes it, and cell.json: what it took and how to make it alone
//! reproduce.html, .json, .csv       tables, figures, claims: written again after every run
//! ```
//!
//! The table `shortcut` is not of the paper: trainings on fakes that all carry a planted trace, and what is done about it ([`arms`]).
//!
//! A job is a training that tables read from: a baseline, a stage 1 with some weights of the losses, a stage 2 behind one of those. A
//! job that several tables need is done once. The paper's figures stand beside ours and are never mixed with them: its pictures were
//! others ([`paper`]).

pub mod arms;
pub mod cells;
pub mod claims;
pub mod copies;
pub mod gains;
pub mod options;
pub mod page;
pub mod paper;
pub mod pictures;
pub mod plan;
pub mod run;
pub mod shortcut;

pub use options::Options;
pub use plan::{Part, Scale};
pub use run::reproduce;
