//! What the colours of a mask mean: which of them is "forged".
//!
//! Black and white is plain. Everything else is named in a note, or refused where nobody can know. Pixels are sorted by the eight
//! corners of the colour cube (a channel is on above 127), so that the noise of JPEG compression changes no corner.

use super::note::{Kind, Note};

/// Corners: red, green and blue are the bits 0, 1 and 2.
const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const BLACK: usize = 0;
const RED: usize = 1;
const GREEN: usize = 2;
const WHITE: usize = 7;

/// Share of the pixels outside of the commonest corner from which a corner is a colour of the mask: fewer are blends at edges.
const PART: f64 = 0.25;
/// Share of pixels with a level of 64 to 191 from which values between are told: smooth edges and JPEG noise make less.
const BETWEEN: f64 = 0.05;

/// A mask has at least so many grey values (of 64, four levels each) and at most this share of pixels within 16 levels of black
/// or white if it is a grey photograph: masks with soft edges are mostly black and white.
const GREYS: usize = 32;
const ENDS: f64 = 0.2;

/// Why a mask is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The file, not what it shows.
    File,
    Photograph,
    /// Nobody knows which of its colours is forged.
    Colours,
}

/// Which pixels are forged.
#[derive(Debug)]
pub struct Meaning(Rule);

#[derive(Debug)]
enum Rule {
    /// The brightest channel is above 127 and the pixel is opaque (alpha above 127).
    Bright,
    /// Nearest of these colours; true = forged. Transparent pixels are not.
    Nearest(Vec<([f64; 3], bool)>),
    /// The pixel is transparent.
    Hole,
}

/// What is counted of a mask's pixels; colours only of opaque ones.
struct Counts {
    transparent: usize,
    opaque: usize,
    corners: [usize; 8],
    /// Sums of the channels by corner.
    sums: [[f64; 3]; 8],
    /// Level (brightest channel) of 64 to 191.
    between: usize,
    /// By level, four levels each.
    levels: [usize; 64],
    /// Channels differ by more than 32.
    colourful: usize,
    bright: usize,
    /// Pixels by the upper three bits of each channel.
    coarse: Vec<usize>,
    /// Which colours occur, by the upper five bits.
    fine: Vec<bool>,
}

impl Counts {
    fn of(pixels: impl Iterator<Item = [u8; 4]>) -> Counts {
        let (corners, sums, levels) = ([0; 8], [[0.0; 3]; 8], [0; 64]);
        let (coarse, fine) = (vec![0; 512], vec![false; 1 << 15]);
        let (transparent, opaque, between, colourful, bright) = (0, 0, 0, 0, 0);
        let mut n = Counts { transparent, opaque, corners, sums, between, levels, colourful, bright, coarse, fine };
        for [r, g, b, a] in pixels {
            if a <= 127 {
                n.transparent += 1;
                continue;
            }
            let (low, high) = (r.min(g).min(b), r.max(g).max(b));
            n.opaque += 1;
            n.bright += (high > 127) as usize;
            n.between += (64..=191).contains(&high) as usize;
            n.levels[high as usize / 4] += 1;
            n.colourful += (high - low > 32) as usize;
            let corner = corner([r, g, b]);
            n.corners[corner] += 1;
            n.sums[corner].iter_mut().zip([r, g, b]).for_each(|(s, v)| *s += v as f64);
            let [r, g, b] = [r as usize, g as usize, b as usize];
            n.coarse[r >> 5 << 6 | g >> 5 << 3 | b >> 5] += 1;
            n.fine[r >> 3 << 10 | g >> 3 << 5 | b >> 3] = true;
        }
        n
    }

    fn share(&self, n: usize) -> f64 {
        n as f64 / self.opaque.max(1) as f64
    }

    /// Many colours, and no two of them fill most of it.
    fn photograph(&self) -> bool {
        let mut coarse = self.coarse.clone();
        coarse.sort_unstable_by(|a, b| b.cmp(a));
        let distinct = self.fine.iter().filter(|&&f| f).count();
        self.share(self.colourful) > 0.1 && distinct > 256.min(self.opaque / 4) && self.share(coarse[0] + coarse[1]) < 0.6
    }

    /// Grey values all over the range, and few that are black or white.
    fn grey_photograph(&self) -> bool {
        let ends: usize = self.levels[..4].iter().chain(&self.levels[60..]).sum();
        self.levels.iter().filter(|&&n| n > 0).count() >= GREYS && self.share(ends) <= ENDS
    }

    /// The commonest corner and the other colours of the mask.
    fn colours(&self) -> (usize, Vec<usize>) {
        let most = (0..8).max_by_key(|&c| (self.corners[c], c)).unwrap_or(BLACK);
        let rest = self.opaque - self.corners[most];
        let others = (0..8).filter(|&c| c != most && self.corners[c] > 0 && self.corners[c] as f64 >= PART * rest as f64);
        (most, others.collect())
    }
}

fn corner(rgb: [u8; 3]) -> usize {
    (0..3).map(|c| ((rgb[c] > 127) as usize) << c).sum()
}

fn list(corners: &[usize]) -> String {
    corners.iter().map(|&c| NAMES[c]).collect::<Vec<_>>().join(" and ")
}

impl Meaning {
    /// Decides by all pixels (RGBA) of a mask. The error says why nobody can decide, and what to do.
    pub fn of(pixels: impl Iterator<Item = [u8; 4]>) -> Result<(Meaning, Option<Note>), (Cause, String)> {
        let n = Counts::of(pixels);
        if n.transparent > 0 {
            // White strokes on nothing are a drawing; a picture, or black, around a hole is what inpainting tools write.
            if n.opaque == 0 || n.bright == 0 || n.photograph() || n.share(n.between) > 0.1 {
                let text = "its transparent pixels were taken for forged (a hole), all others for genuine";
                return Ok((Meaning(Rule::Hole), Some(Note::new(Kind::MaskAlpha, text))));
            }
        } else if n.photograph() {
            let why = "it looks like a photograph, not like a mask (many colours): put a mask there whose manipulated pixels are \
                       white and all others black";
            return Err((Cause::Photograph, why.into()));
        }
        let (rule, note) = Meaning::by_colour(&n).map_err(|why| (Cause::Colours, why))?;
        let note = note.or_else(|| {
            let grey = n.share(n.between);
            let level = matches!(rule, Rule::Bright) && grey > BETWEEN;
            level.then(|| {
                let share = format!("{:.0} % of its pixels are neither black nor white (64 to 191 of 255)", 100.0 * grey);
                match n.grey_photograph() {
                    true => {
                        let text =
                            format!("it looks like a grey photograph, not like a mask ({share}): above 127 was taken for forged");
                        Note::new(Kind::MaskPhotograph, text)
                    }
                    false => Note::new(Kind::MaskGrey, format!("{share}: above 127 was taken for forged")),
                }
            })
        });
        let note = note.or_else(|| {
            let text = "its transparent pixels were taken for genuine, its bright ones for forged";
            (n.transparent > 0).then(|| Note::new(Kind::MaskAlpha, text))
        });
        Ok((Meaning(rule), note))
    }

    fn by_colour(n: &Counts) -> Result<(Rule, Option<Note>), String> {
        let (most, others) = n.colours();
        let all: Vec<usize> = [most].into_iter().chain(others.iter().copied()).collect();
        let has = |c: usize| all.contains(&c);
        let note = |text| Some(Note::new(Kind::MaskColours, text));
        // Black and one more colour, whichever is the background, or a single colour.
        let lit: Vec<usize> = all.iter().copied().filter(|&c| c != BLACK).collect();
        if lit.len() <= 1 {
            let named = lit.first().filter(|&&c| c == GREEN && has(BLACK));
            return Ok((Rule::Bright, named.and_then(|_| note("green on black: green was taken for forged".to_string()))));
        }
        if has(GREEN) && lit.iter().all(|&c| [RED, GREEN, WHITE].contains(&c)) {
            let (forged, genuine): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&c| c == RED || c == WHITE);
            let mean = |c: usize| n.sums[c].map(|s| s / n.corners[c] as f64);
            let colours = all.iter().map(|&c| (mean(c), forged.contains(&c))).collect();
            let text = format!("{} was taken for forged, {} for genuine", list(&forged), list(&genuine));
            return Ok((Rule::Nearest(colours), note(text)));
        }
        if most == BLACK {
            return Ok((Rule::Bright, note(format!("{} on black: all of them were taken for forged", list(&lit)))));
        }
        Err(format!(
            "the colours of the mask are {}, and which of them means forged is not known: draw the manipulated pixels white and all \
             others black (or red and green)",
            list(&all)
        ))
    }

    /// Whether a pixel (RGBA) is forged.
    pub fn forged(&self, [r, g, b, a]: [u8; 4]) -> bool {
        match &self.0 {
            Rule::Bright => r.max(g).max(b) > 127 && a > 127,
            Rule::Hole => a <= 127,
            Rule::Nearest(colours) => {
                let far = |m: &[f64; 3]| m.iter().zip([r, g, b]).map(|(m, v)| (m - v as f64).powi(2)).sum::<f64>();
                let nearest = colours.iter().min_by(|x, y| far(&x.0).total_cmp(&far(&y.0)));
                a > 127 && nearest.is_some_and(|c| c.1)
            }
        }
    }
}
