//! What a run leaves behind: metrics.jsonl, TensorBoard events, report.json and report.html, and the tables on the terminal.

pub mod chart;
pub mod data;
pub mod heatmap;
pub mod html;
pub mod jsonl;
pub mod table;
pub mod tensorboard;
pub mod terminal;

pub use data::{
    Candidate, Chart, DetectionRow, Gallery, GalleryItem, KeyValue, LocalisationRow, ModelDetection, ModelKey, ModelMaps, Origin,
    Panel, Picture, ReportData, Series,
};
pub use heatmap::Rgb;
pub use jsonl::JsonLog;
pub use tensorboard::EventWriter;
