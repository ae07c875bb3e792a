//! labelme's JSON: a file for each picture, with shapes. Polygons, rectangles, circles and embedded masks are read, whatever their
//! label; a pixel counts where its centre is inside. Regions without holes are written as polygons along pixel edges, others as
//! embedded masks: both give back the pixels exactly.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::pair::{Found, Out};
use super::polygon::{self, Region};
use crate::core::file::write_quickly;
use crate::data::Mask;
use crate::error::{Error, Result};

pub(super) fn read(file: &Path, notes: &mut Vec<String>) -> Result<Found> {
    let bad = |why: String| Error::data(file, why);
    let text = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    let value: Value = serde_json::from_slice(&text).map_err(|e| bad(format!("is not JSON: {e}")))?;
    let size = |key: &str| {
        let n = value[key].as_u64().filter(|n| (1..=30_000).contains(n));
        n.map(|n| n as usize).ok_or_else(|| bad(format!("{key} must be a number from 1 to 30000")))
    };
    let mut mask = Mask::new(size("imageWidth")?, size("imageHeight")?);
    let shapes = value["shapes"].as_array().ok_or_else(|| bad("shapes is no list: not a file of labelme".into()))?;
    let mut labels = std::collections::BTreeSet::new();
    for (n, shape) in shapes.iter().enumerate() {
        let of = |why: &str| bad(format!("shape {}: {why}", n + 1));
        labels.insert(crate::text::line(shape["label"].as_str().unwrap_or("")));
        let point = |p: &Value| Some([p.get(0)?.as_f64()?, p.get(1)?.as_f64()?]);
        let points: Option<Vec<[f64; 2]>> = shape["points"].as_array().and_then(|all| all.iter().map(point).collect());
        let points = points
            .filter(|p| p.iter().flatten().all(|x| x.is_finite()))
            .ok_or_else(|| of("its points are no pairs of numbers"))?;
        match (shape["shape_type"].as_str().unwrap_or("polygon"), &points[..]) {
            ("polygon", [_, _, _, ..]) => polygon::fill(&mut mask, &points),
            ("rectangle", [[x0, y0], [x1, y1]]) => polygon::fill(&mut mask, &[[*x0, *y0], [*x1, *y0], [*x1, *y1], [*x0, *y1]]),
            ("circle", [[x, y], [ex, ey]]) => {
                let r = (ex - x).hypot(ey - y);
                let inside = |px: usize, py: usize| (px as f64 + 0.5 - x).hypot(py as f64 + 0.5 - y) <= r;
                let disc = Mask::from_fn(mask.w, mask.h, inside);
                mask.on.iter_mut().zip(&disc.on).for_each(|(m, d)| *m |= d);
            }
            ("mask", [[x, y], _]) => {
                let part = embedded(shape["mask"].as_str().unwrap_or("")).map_err(|why| of(&why))?;
                let fits = |at: f64, n: usize, all: usize| at >= 0.0 && at.fract() == 0.0 && at as usize + n <= all;
                if !fits(*x, part.w, mask.w) || !fits(*y, part.h, mask.h) {
                    let why = format!("its mask of {} x {} pixels at ({x}, {y}) does not lie inside the picture", part.w, part.h);
                    return Err(of(&why));
                }
                let part = part.within(mask.w, mask.h, *x as usize, *y as usize);
                mask.on.iter_mut().zip(&part.on).for_each(|(m, p)| *m |= p);
            }
            (kind @ ("polygon" | "rectangle" | "circle" | "mask"), _) => return Err(of(&format!("a {kind} has other points"))),
            (kind, _) => {
                let why = format!("{} covers no pixels: polygon, rectangle, circle and mask are read", crate::text::line(kind));
                return Err(of(&why));
            }
        }
    }
    if labels.len() > 1 {
        let labels: Vec<String> = labels.into_iter().collect();
        notes.push(format!("{}: labels {}: all of them were taken for forged", crate::text::shown(file), labels.join(", ")));
    }
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let name = value["imagePath"].as_str().filter(|p| !p.is_empty()).unwrap_or(&stem).trim_start_matches("../").to_string();
    Ok(Found { name, file: file.to_path_buf(), mask })
}

/// The PNG of a mask shape: every value but 0 is on.
fn embedded(text: &str) -> Result<Mask, String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|e| format!("its mask is not base64 ({e})"))?;
    let mut reader = image::ImageReader::with_format(Cursor::new(bytes), image::ImageFormat::Png);
    let mut limits = image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(30_000), Some(30_000));
    reader.limits(limits);
    let grey = reader.decode().map_err(|e| format!("its mask is no PNG ({e})"))?.into_luma8();
    let (w, h) = grey.dimensions();
    let on = grey.into_raw().into_iter().map(|v| (v != 0) as u8).collect();
    Ok(Mask { w: w as usize, h: h as usize, on })
}

pub(super) fn write(dir: &Path, masks: &[Out]) -> Result<()> {
    for out in masks {
        let mut shapes = Vec::new();
        for region in polygon::outlines(&out.mask) {
            let (kind, points, mask) = match region {
                Region::Outline(points) => ("polygon", points, Value::Null),
                Region::Pixels { x, y, mask } => {
                    let corners = vec![[x as f64, y as f64], [(x + mask.w - 1) as f64, (y + mask.h - 1) as f64]];
                    ("mask", corners, json!(BASE64_STANDARD.encode(mask.to_png()?)))
                }
            };
            shapes.push(json!({
                "label": "forged", "points": points, "group_id": null, "description": "", "shape_type": kind, "flags": {}, "mask": mask,
            }));
        }
        let file = dir.join(out.stem() + ".json");
        let up = "../".repeat(out.stem().matches('/').count());
        let value = json!({
            "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": format!("{up}{}", out.picture()), "imageData": null,
            "imageHeight": out.mask.h, "imageWidth": out.mask.w,
        });
        let parent = file.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        write_quickly(&file, value.to_string().as_bytes())?;
    }
    Ok(())
}
