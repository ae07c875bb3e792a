//! What the paper prints (arXiv 1909.05999v3, Tables 3 to 6), in per cent. These are accuracies on other pictures: they stand beside
//! ours for their order, not for their size.

/// Table 3, the inpainting columns, of the baselines: accuracy on G&L (seen) and on ContextAtten (unseen).
pub const BASELINES: [(&str, [f64; 2]); 6] = [
    ("suppress", [99.08, 49.98]),
    ("residual", [98.96, 58.45]),
    ("stats", [96.17, 50.12]),
    ("meso", [86.90, 61.34]),
    ("xception", [99.86, 50.16]),
    ("transfer", [99.65, 50.05]),
];

/// The same of LAE_100, LAE_400 and LAE_800.
pub const LAE: [[f64; 2]; 3] = [[99.04, 57.64], [98.95, 60.67], [98.94, 64.42]];

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
