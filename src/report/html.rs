//! `report.html`.
use super::data::ReportData;
/// The whole page.
pub fn render(data: &ReportData) -> String {
    maud::html! { (maud::DOCTYPE) title { (data.title) } }.into_string()
}
