//! Metrics against values that scikit-learn made (tests/golden/metrics.py).

use lae_engine::metrics::{Bootstrap, Detection, RankedMap, Scored};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/metrics.json")).unwrap()
}

fn numbers(case: &Value, key: &str) -> Vec<f64> {
    case[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn flags(case: &Value, key: &str) -> Vec<bool> {
    numbers(case, key).iter().map(|&x| x != 0.0).collect()
}

fn close(case: &Value, key: &str, found: f64) {
    let expected = case[key].as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-12, "{}: {key} is {found}, scikit-learn says {expected}", case["name"]);
}

#[test]
fn detection_agrees_with_scikit_learn() {
    let all = golden();
    for case in all["detection"].as_array().unwrap() {
        let set = Scored::from_columns(&numbers(case, "score"), &flags(case, "fake"), None, &[]).unwrap();
        let d = Detection::of(&set, &Bootstrap { resamples: 10, seed: 0 }).unwrap();
        close(case, "accuracy", d.accuracy.value);
        close(case, "recall_real", d.recall_real.value);
        close(case, "recall_fake", d.recall_fake.value);
        close(case, "balanced", d.balanced.value);
        close(case, "auc", d.auc.value);
        close(case, "ap", d.ap.value);
        close(case, "eer", d.eer.value);
    }
}

#[test]
fn localisation_agrees_with_scikit_learn() {
    let all = golden();
    for case in all["localisation"].as_array().unwrap() {
        let map: Vec<f32> = numbers(case, "map").iter().map(|&x| x as f32).collect();
        let s = RankedMap::new(&map).unwrap().score(&flags(case, "mask")).unwrap();
        close(case, "auc", s.auc);
        close(case, "ap", s.ap);
        close(case, "iou_half", s.iou_half);
        close(case, "iou_best", s.iou_best);
        close(case, "energy", s.energy);
        close(case, "pointing", s.pointing);
        close(case, "mae", s.mae);
        close(case, "mse", s.mse);
    }
}
