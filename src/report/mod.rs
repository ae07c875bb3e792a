//! What a run leaves behind: metrics.jsonl, TensorBoard events, report.json and report.html, and the tables on the terminal.

pub mod calibration;
pub mod chart;
pub mod data;
pub mod heatmap;
pub mod html;
pub mod jsonl;
pub mod table;
pub mod tensorboard;
pub mod terminal;

pub use calibration::CalibrationSection;
pub use data::{
    Candidate, Chart, DetectionRow, FullSizeSection, Gallery, GalleryItem, KeyValue, LocalisationRow, MaskRow, ModelDetection,
    ModelKey, ModelMaps, Origin, Panel, Picture, ReportData, Series,
};
pub use heatmap::Rgb;
pub use jsonl::JsonLog;
pub use tensorboard::EventWriter;

use std::path::Path;

use crate::core::file::write_whole;
use crate::error::{Error, Result};

impl ReportData {
    /// Writes `report.json` and `report.html` into `folder`, which must exist.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let json = folder.join("report.json");
        write_whole(&json, &serde_json::to_vec(self).map_err(|e| Error::data(&json, e))?)?;
        write_whole(folder.join("report.html"), html::render(self).as_bytes())
    }
}
