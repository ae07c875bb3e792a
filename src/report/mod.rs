//! What a run leaves behind: metrics.jsonl, TensorBoard events, report.html.
