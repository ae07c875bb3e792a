//! COCO's JSON: `images`, and `annotations` whose segmentation is a run-length encoding, plain or compressed, or polygons. All
//! annotations of a picture are one mask, whatever their category.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::pair::{Found, Out};
use super::{polygon, rle};
use crate::core::file::write_whole;
use crate::data::Mask;
use crate::error::{Error, Result};

pub(super) fn read(file: &Path, value: &Value, notes: &mut Vec<String>) -> Result<Vec<Found>> {
    let bad = |why: String| Error::data(file, why);
    let list = |key: &str| value[key].as_array().ok_or_else(|| bad(format!("{key} is no list")));
    let mut images: BTreeMap<i64, (String, usize, usize)> = BTreeMap::new();
    for image in list("images")? {
        let size = |key: &str| image[key].as_u64().filter(|n| (1..=30_000).contains(n)).map(|n| n as usize);
        let (Some(id), Some(name), Some(w), Some(h)) =
            (image["id"].as_i64(), image["file_name"].as_str(), size("width"), size("height"))
        else {
            return Err(bad(format!("an image needs id, file_name, width and height (1 to 30000): {}", brief(image))));
        };
        images.insert(id, (name.to_string(), w, h));
    }
    let mut masks: BTreeMap<i64, Mask> = BTreeMap::new();
    let mut polygons = 0;
    for a in list("annotations")? {
        let id = a["image_id"].as_i64();
        let Some((name, w, h)) = id.and_then(|id| images.get(&id)) else {
            return Err(bad(format!("an annotation is of image {}, which is not listed", brief(&a["image_id"]))));
        };
        let of = |why: String| bad(format!("an annotation of {}: {why}", crate::text::line(name)));
        let mask = masks.entry(id.expect("found by it")).or_insert_with(|| Mask::new(*w, *h));
        let s = &a["segmentation"];
        if let Some(all) = s.as_array() {
            for ring in all {
                let numbers: Option<Vec<f64>> = ring.as_array().map(|r| r.iter().filter_map(Value::as_f64).collect());
                let points: Vec<[f64; 2]> = numbers.unwrap_or_default().chunks_exact(2).map(|p| [p[0], p[1]]).collect();
                if points.len() < 3 {
                    return Err(of("a polygon has less than three points".into()));
                }
                polygon::fill(mask, &points);
                polygons += 1;
            }
            continue;
        }
        let size: Vec<u64> = s["size"].as_array().map(|v| v.iter().filter_map(Value::as_u64).collect()).unwrap_or_default();
        if size != [*h as u64, *w as u64] {
            return Err(of(format!(
                "its encoding has size {} (height, width), the image is {h} high and {w} wide",
                brief(&s["size"])
            )));
        }
        let counts = match (&s["counts"], s["counts"].as_array()) {
            (Value::String(text), _) => rle::parse(text).map_err(of)?,
            (_, Some(list)) => {
                let counts: Option<Vec<u32>> = list.iter().map(|n| n.as_u64().and_then(|n| n.try_into().ok())).collect();
                counts.ok_or_else(|| of("its counts are no list of numbers".into()))?
            }
            _ => return Err(of("it has neither counts nor polygons".into())),
        };
        let part = rle::mask(*w, *h, &counts).map_err(of)?;
        mask.on.iter_mut().zip(&part.on).for_each(|(m, p)| *m |= p);
    }
    if polygons > 0 {
        notes.push(format!("{polygons} polygons were filled: a pixel counts where its centre is inside"));
    }
    let found = |(id, mask): (i64, Mask)| Found { name: images[&id].0.clone(), file: file.to_path_buf(), mask };
    Ok(masks.into_iter().map(found).collect())
}

/// The beginning of a value, for a message.
fn brief(value: &Value) -> String {
    crate::text::line(&value.to_string().chars().take(80).collect::<String>())
}

pub(super) fn write(file: &Path, masks: &[Out], compressed: bool) -> Result<()> {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for out in masks {
        let (id, m) = (out.item.index, &out.mask);
        images.push(json!({ "id": id, "file_name": out.picture(), "width": m.w, "height": m.h }));
        let counts = rle::counts(m);
        let counts = if compressed { json!(rle::text(&counts)) } else { json!(counts) };
        let xs = || (0..m.w).filter(|&x| (0..m.h).any(|y| m.get(x, y)));
        let ys = || (0..m.h).filter(|&y| (0..m.w).any(|x| m.get(x, y)));
        let [x0, x1] = [xs().min(), xs().max()].map(|v| v.unwrap_or(0));
        let [y0, y1] = [ys().min(), ys().max()].map(|v| v.unwrap_or(0));
        annotations.push(json!({
            "id": id, "image_id": id, "category_id": 1, "iscrowd": 1, "area": m.area(), "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
            "segmentation": { "size": [m.h, m.w], "counts": counts },
            "attributes": { "by": out.line.map_or("", |a| &a.by), "origin": out.line.map_or("file", |a| a.origin.name()) },
        }));
    }
    let info = json!({ "description": "masks of manipulated regions", "contributor": format!("lae-engine {}", env!("CARGO_PKG_VERSION")) });
    let categories = json!([{ "id": 1, "name": "forged" }]);
    let all = json!({ "info": info, "images": images, "annotations": annotations, "categories": categories });
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    }
    write_whole(file, all.to_string().as_bytes())
}
