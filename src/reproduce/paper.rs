//! What the paper prints (arXiv 1909.05999v3, Tables 3 to 6), in per cent. These are accuracies on other pictures: they stand beside
//! ours for their order, not for their size.

use crate::data::Task;

/// Accuracies on the seen and on the unseen forger, for each task in the order of [`Task::ALL`].
type Tasks = [[f64; 2]; 3];

/// Table 3, the baselines: on G&L (seen) and ContextAtten (unseen), on Face2face and FaceSwap, on StarGAN and Glow.
pub const BASELINES: [(&str, Tasks); 6] = [
    ("suppress", [[99.08, 49.98], [93.86, 50.92], [99.98, 49.94]]),
    ("residual", [[98.96, 58.45], [86.67, 61.54], [99.98, 49.86]]),
    ("stats", [[96.17, 50.12], [92.94, 57.74], [99.98, 50.04]]),
    ("meso", [[86.90, 61.34], [94.38, 47.32], [100.0, 50.01]]),
    ("xception", [[99.86, 50.16], [98.02, 49.94], [100.0, 49.67]]),
    ("transfer", [[99.65, 50.05], [93.91, 52.81], [100.0, 50.08]]),
];

/// The same of LAE_100, LAE_400 and LAE_800.
pub const LAE: [Tasks; 3] = [
    [[99.04, 57.64], [96.84, 61.09], [99.91, 59.05]],
    [[98.95, 60.67], [96.82, 65.24], [99.75, 60.08]],
    [[98.94, 64.42], [96.80, 68.06], [99.67, 62.11]],
];

/// What Table 3 prints of a task.
pub fn of(row: &Tasks, task: Task) -> [f64; 2] {
    row[Task::ALL.iter().position(|t| *t == task).expect("all tasks are listed")]
}

/// Table 4, face swap: Face2face (seen) and FaceSwap (unseen).
pub const TABLE_4: [(&str, [f64; 2]); 5] = [
    ("AE_rec", [50.39, 49.46]),
    ("AE_latent", [95.82, 50.70]),
    ("AE_latent_pixel", [96.57, 50.58]),
    ("AE_latent_rec", [96.92, 50.54]),
    ("LAE", [96.80, 68.06]),
];

/// Table 5, face swap, no attention loss: β₁, β₂, β₃, seen, unseen.
pub const TABLE_5: [([f64; 3], [f64; 2]); 7] = [
    ([1.0, 1.0, 0.01], [96.92, 50.54]),
    ([0.5, 1.0, 0.01], [96.01, 50.86]),
    ([0.1, 1.0, 0.01], [95.55, 50.86]),
    ([1.0, 0.5, 0.01], [96.74, 50.82]),
    ([1.0, 0.1, 0.01], [95.84, 50.50]),
    ([1.0, 1.0, 0.1], [54.16, 49.92]),
    ([1.0, 1.0, 0.05], [58.28, 50.01]),
];

/// Table 6, face swap, with the attention loss: λ₁, λ₂, seen, unseen.
pub const TABLE_6: [([f64; 2], [f64; 2]); 9] = [
    ([1.0, 1.0], [96.85, 63.14]),
    ([1.0, 0.5], [96.88, 55.12]),
    ([1.0, 0.1], [96.90, 50.61]),
    ([0.5, 1.0], [96.80, 68.06]),
    ([0.5, 0.5], [96.83, 62.67]),
    ([0.5, 0.1], [96.88, 53.05]),
    ([0.1, 1.0], [95.97, 64.92]),
    ([0.1, 0.5], [96.42, 58.01]),
    ([0.1, 0.1], [96.85, 51.06]),
];

/// §3.1.5: accuracy of the linear concept model on held-out G&L pictures.
pub const LINEAR: f64 = 99.74;
