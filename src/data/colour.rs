//! Embedded colour profiles: the conversion to sRGB, and what is said about profiles that are not applied.

use std::sync::Arc;

use moxcms::{
    ColorProfile, DataColorSpace, Layout, ProfileText, Transform8BitExecutor, Transform16BitExecutor, TransformOptions,
};

use super::note::{Kind, Note};

/// Largest difference to sRGB, levels of 255, up to which a profile counts as sRGB: tables and fixed-point numbers of real sRGB
/// profiles differ by that much; Display P3 and Adobe RGB differ by more than twenty.
const SAME: u8 = 3;

/// What becomes of an embedded profile.
pub enum Plan {
    /// The values are sRGB already.
    Keep,
    /// Not applied; the note says why.
    Ignore(Note),
    /// Colours are converted; the note says from what.
    Convert(ToSrgb, Note),
}

/// A conversion of rows of interleaved RGB to sRGB.
pub struct ToSrgb {
    eight: Arc<Transform8BitExecutor>,
    sixteen: Option<Arc<Transform16BitExecutor>>,
}

impl ToSrgb {
    /// 8 bits to 8 bits. `to` is as long as `from`.
    pub fn eight(&self, from: &[u8], to: &mut [u8]) -> bool {
        self.eight.transform(from, to).is_ok()
    }

    /// 16 bits to 16 bits; false where the picture was not announced as deep.
    pub fn sixteen(&self, from: &[u16], to: &mut [u16]) -> bool {
        self.sixteen.as_ref().is_some_and(|t| t.transform(from, to).is_ok())
    }
}

/// Decides about a profile. `converted`: the decoder itself made RGB of CMYK, so that a CMYK profile no longer fits. `deep`: the
/// picture has more than 8 bits.
pub fn plan(icc: &[u8], deep: bool) -> Plan {
    let ignored = |what: String| {
        Plan::Ignore(Note::new(Kind::ProfileIgnored, format!("{what}: not applied, the values were taken as sRGB")))
    };
    let Ok(profile) = ColorProfile::new_from_slice(icc) else {
        return ignored(format!("a damaged colour profile ({} bytes)", icc.len()));
    };
    let name = name(&profile);
    match profile.color_space {
        DataColorSpace::Rgb => {}
        DataColorSpace::Gray => return ignored(format!("a colour profile for grey values ({name})")),
        DataColorSpace::Cmyk => return ignored(format!("a colour profile for CMYK ({name})")),
        other => return ignored(format!("a colour profile for {other:?} ({name})")),
    }
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let Ok(eight) = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options) else {
        return ignored(format!("a colour profile that cannot be used ({name})"));
    };
    let sixteen = if deep { profile.create_transform_16bit(Layout::Rgb, &srgb, Layout::Rgb, options).ok() } else { None };
    let to = ToSrgb { eight, sixteen };
    match furthest(&to) {
        None => ignored(format!("a colour profile that cannot be used ({name})")),
        Some(d) if d <= SAME => Plan::Keep,
        Some(_) => Plan::Convert(to, Note::new(Kind::Profile, format!("converted from its colour profile ({name}) to sRGB"))),
    }
}

/// The largest change of a value over a grid of colours.
fn furthest(to: &ToSrgb) -> Option<u8> {
    let grey = (0..=255u8).flat_map(|v| [v; 3]);
    let grid = (0..9 * 9 * 9u32).flat_map(|i| [i % 9, i / 9 % 9, i / 81].map(|v| (v * 255 / 8) as u8));
    let from: Vec<u8> = grey.chain(grid).collect();
    let mut out = vec![0; from.len()];
    to.eight(&from, &mut out).then(|| from.iter().zip(&out).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0))
}

/// The description inside a profile, or "without a name". Control characters are left out: the name is part of a line of output.
fn name(profile: &ColorProfile) -> String {
    let text = match &profile.description {
        Some(ProfileText::PlainString(s)) => s.as_str(),
        Some(ProfileText::Localizable(all)) => all.first().map_or("", |s| &s.value),
        Some(ProfileText::Description(d)) if !d.ascii_string.is_empty() => &d.ascii_string,
        Some(ProfileText::Description(d)) => &d.unicode_string,
        None => "",
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    if text.trim().is_empty() { "without a name".into() } else { text.trim().into() }
}
