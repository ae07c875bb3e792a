//! Embedded colour profiles, and what PNG says in chunks of its own: the conversion to sRGB, and what is said about what is not
//! applied.

use std::sync::Arc;

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, DataColorSpace, Layout, MatrixCoefficients,
    ProfileText, ToneReprCurve, TransferCharacteristics, Transform8BitExecutor, Transform16BitExecutor, TransformOptions, XyY,
};

use super::note::{Kind, Note};
use super::png::Colours;

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
    let converted = Note::new(Kind::Profile, format!("converted from its colour profile ({name}) to sRGB"));
    conversion(&profile, deep, converted).unwrap_or_else(|| ignored(format!("a colour profile that cannot be used ({name})")))
}

/// The conversion from a profile, with the note about it. None where there is no such.
fn conversion(profile: &ColorProfile, deep: bool, note: Note) -> Option<Plan> {
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let eight = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options).ok()?;
    let sixteen = if deep { profile.create_transform_16bit(Layout::Rgb, &srgb, Layout::Rgb, options).ok() } else { None };
    let to = ToSrgb { eight, sixteen };
    Some(if furthest(&to)? <= SAME { Plan::Keep } else { Plan::Convert(to, note) })
}

/// Decides about what the chunks of a PNG file say. `deep`: the picture has more than 8 bits.
pub fn plan_of_png(colours: &Colours, deep: bool) -> Plan {
    let (profile, words) = match *colours {
        Colours::Cicp(codes) => (of_codes(codes), format!("CICP codes {}", codes.map(|c| c.to_string()).join("/"))),
        Colours::Gamma { gamma, primaries } => {
            let gamma_words = gamma.map(|g| format!("gamma {:.3}", g as f64 / 1e5));
            let words = gamma_words.into_iter().chain(primaries.map(|_| "primaries".into())).collect::<Vec<_>>().join(" and ");
            // 1/2.2 without other primaries is how PNG writes sRGB for programs that know gamma only.
            let usual = |p: &[u32; 8]| p.iter().zip(SRGB).all(|(a, b)| a.abs_diff(b) <= 100);
            if gamma.is_none_or(|g| g.abs_diff(45_455) <= 500) && primaries.as_ref().is_none_or(usual) {
                return Plan::Keep;
            }
            (gamma.and_then(|g| of_gamma(g, &primaries.unwrap_or(SRGB))), words)
        }
    };
    let note = Note::new(Kind::Gamma, format!("converted from the {words} that the PNG file names to sRGB"));
    profile.and_then(|p| conversion(&p, deep, note)).unwrap_or_else(|| {
        Plan::Ignore(Note::new(
            Kind::GammaIgnored,
            format!("{words} of the PNG file: not applied, the values were taken as sRGB"),
        ))
    })
}

/// White, red, green and blue of sRGB, times 100,000.
const SRGB: [u32; 8] = [31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000];

/// A profile of a curve and primaries (white, red, green, blue).
fn of_curve(curve: ToneReprCurve, white: [f64; 2], [red, green, blue]: [[f64; 2]; 3]) -> Option<ColorProfile> {
    let sound = |[x, y]: [f64; 2]| x > 0.0 && y > 0.0 && x + y <= 1.0;
    // Twice the triangle of the primaries; that of sRGB is 0.22.
    let across = (green[0] - red[0]) * (blue[1] - red[1]) - (blue[0] - red[0]) * (green[1] - red[1]);
    if ![white, red, green, blue].into_iter().all(sound) || across.abs() < 0.01 {
        return None;
    }
    let mut profile = ColorProfile::new_srgb();
    let point = |[x, y]: [f64; 2]| Chromaticity { x: x as f32, y: y as f32 };
    let primaries = ColorPrimaries { red: point(red), green: point(green), blue: point(blue) };
    profile.update_rgb_colorimetry(XyY { x: white[0], y: white[1], yb: 1.0 }, primaries);
    (profile.red_trc, profile.green_trc, profile.blue_trc) = (Some(curve.clone()), Some(curve.clone()), Some(curve));
    Some(profile)
}

fn power(exponent: f64) -> ToneReprCurve {
    ToneReprCurve::Parametric(vec![exponent as f32])
}

/// `gAMA` is the exponent with which light was encoded. Exponents beyond 1/10 and 10 are no pictures'.
fn of_gamma(gamma: u32, primaries: &[u32; 8]) -> Option<ColorProfile> {
    let exponent = 1e5 / gamma as f64;
    let [white, red, green, blue] = [0, 2, 4, 6].map(|i| [primaries[i] as f64 / 1e5, primaries[i + 1] as f64 / 1e5]);
    (0.1..=10.0).contains(&exponent).then(|| of_curve(power(exponent), white, [red, green, blue]))?
}

/// CICP codes whose curve is a definition of how values are shown: sRGB, powers, light itself. The curves of video and HDR are
/// not applied: what they are shown as depends on the screen.
fn of_codes([primaries, transfer, matrix, full]: [u8; 4]) -> Option<ColorProfile> {
    let srgb = ColorProfile::new_srgb();
    let curve = match transfer {
        4 => power(2.2),
        5 => power(2.8),
        8 => power(1.0),
        13 => srgb.red_trc?,
        _ => return None,
    };
    let color_primaries = CicpColorPrimaries::try_from(primaries).ok()?;
    ColorPrimaries::try_from(color_primaries).ok()?;
    let (transfer_characteristics, matrix_coefficients) = (TransferCharacteristics::Srgb, MatrixCoefficients::Identity);
    let codes = CicpProfile { color_primaries, transfer_characteristics, matrix_coefficients, full_range: true };
    let mut profile = ColorProfile::new_from_cicp(codes);
    profile.cicp = None;
    (profile.red_trc, profile.green_trc, profile.blue_trc) = (Some(curve.clone()), Some(curve.clone()), Some(curve));
    (matrix == 0 && full == 1).then_some(profile)
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
