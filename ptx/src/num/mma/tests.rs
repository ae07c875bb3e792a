use super::*;
use crate::num::tests::samples;

const SHAPES: [(Element, usize); 6] =
    [(Element::F16, 8), (Element::F16, 16), (Element::Bf16, 8), (Element::Bf16, 16), (Element::Tf32, 4), (Element::Tf32, 8)];
const MODELS: [Tensor; 3] = [Tensor::Ideal, Tensor::Ampere, Tensor::Hopper];

fn every() -> impl Iterator<Item = Mma> {
    SHAPES
        .into_iter()
        .flat_map(|(element, k)| {
            MODELS.into_iter().flat_map(move |model| [false, true].map(move |half_sum| Mma { element, half_sum, k, model }))
        })
        // Only f16 has f16 sums.
        .filter(|m| !m.half_sum || m.element == Element::F16)
}

/// A draw of bits: `kind` 0 of ordinary size, 1 of any finite size, 2 anything at all.
fn draw(bits: u32, kind: u32, i: u32) -> u32 {
    let f = if bits == 16 { F16 } else { F32 };
    let [x, y, z, _] = crate::rng::philox([bits, kind], [i, 0, 0, 0]);
    let x = if bits == 16 { x & 0xffff } else { x };
    let finite = |x: u32| if x as u64 & f.infinity() == f.infinity() { x ^ f.infinity() as u32 & 1 << 14 } else { x };
    match kind {
        0 if z % 17 == 0 => 0,
        0 if bits == 16 => half::narrow((((y % 4000) as f32 - 2000.0) * 0.001).to_bits(), Half::F16, Round::Nearest),
        0 => (((y % 4_000_000) as f32 - 2e6) * 1e-6).to_bits(),
        1 => finite(x),
        _ if z % 50 == 0 => samples(bits, 0).nth(y as usize % 28).unwrap_or(0) as u32,
        _ => x,
    }
}

type Matrices = (Vec<[u32; K]>, [[u32; N]; K], Vec<[u32; N]>);

fn matrices(m: &Mma, kind: u32, round: u32) -> Matrices {
    let mut i = round * 1000;
    let mut next = |bits| {
        i += 1;
        draw(bits, kind, i)
    };
    let bits = if m.element == Element::Tf32 { 32 } else { 16 };
    let sum_bits = if m.half_sum { 16 } else { 32 };
    let mut element = |_| match (m.element, kind) {
        // The draws of ordinary size are f16 numbers.
        (Element::Bf16, 0) => half::narrow(half::widen(next(16), Half::F16), Half::Bf16, Round::Nearest),
        _ => next(bits),
    };
    let a = (0..16).map(|_| std::array::from_fn(&mut element)).collect();
    let b = std::array::from_fn(|_| std::array::from_fn(&mut element));
    let c = (0..16).map(|_| std::array::from_fn(|_| next(sum_bits))).collect();
    (a, b, c)
}

/// The vector code of the hardware models against big integers, for ordinary, extreme and non-finite operands.
#[test]
fn hardware_to_the_bit() {
    let (mut cases, mut special) = (0, 0);
    for m in every().filter(|m| m.model != Tensor::Ideal) {
        for kind in 0..3 {
            for round in 0..6 {
                let (a, b, c) = matrices(&m, kind, round);
                let mut d = c.clone();
                m.product(&a, &b, &mut d);
                for i in 0..16 {
                    for j in 0..N {
                        let column: Vec<u32> = b[..m.k].iter().map(|b| b[j]).collect();
                        let want = reference_dot(&m, &a[i][..m.k], &column, c[i][j]);
                        assert_eq!(d[i][j], want, "{m:?}, draw {kind} {round}, element {i} {j}: {:08x} {want:08x}", d[i][j]);
                        cases += 1;
                        special += (want & 0x7c00_0000 == 0x7c00_0000) as u32;
                    }
                }
            }
        }
    }
    assert!(cases > 20_000 && special > 100, "{cases} {special}");
}

/// All models agree within the documented bound, and the ideal one with an f64 sum.
#[test]
fn models_within_the_bound() {
    let mut differ = [0; 3];
    for (element, k) in SHAPES {
        for round in 0..20 {
            let m = Mma { element, half_sum: false, k, model: Tensor::Ideal };
            let (a, b, c) = matrices(&m, 0, round);
            let results = MODELS.map(|model| {
                let mut d = c.clone();
                Mma { model, ..m }.product(&a, &b, &mut d);
                d
            });
            for i in 0..16 {
                for j in 0..N {
                    let (mut sum, mut size) = (f32::from_bits(c[i][j]) as f64, f32::from_bits(c[i][j]).abs() as f64);
                    for l in 0..k {
                        let p = [a[i][l], b[l][j]].map(|x| f32::from_bits(element.widen(x)) as f64);
                        sum += p[0] * p[1];
                        size += (p[0] * p[1]).abs();
                    }
                    assert_eq!(results[0][i][j], (sum as f32).to_bits());
                    for (r, n) in results.iter().zip(&mut differ) {
                        let got = f32::from_bits(r[i][j]) as f64;
                        assert!((got - sum).abs() <= (k + 2) as f64 * 2f64.powi(-23) * size, "{got} {sum}");
                        *n += (r[i][j] != results[0][i][j]) as u32;
                    }
                }
            }
        }
    }
    // They are three models, not one.
    assert!(differ[1] > 1000 && differ[2] > 1000 && differ[1] != differ[2], "{differ:?}");
}

/// Sums that tell the models apart, worked out by hand.
#[test]
fn cuts_by_hand() {
    let one = 0x3f80u32;
    let small = |exp: i32| ((127 + exp) as u32) << 7;
    let dot = |model, products: &[(u32, u32)], c: f32| {
        let m = Mma { element: Element::Bf16, half_sum: false, k: 16, model };
        let (mut a, mut b) = ([[0; K]; 1], [[0; N]; K]);
        for (k, &(x, y)) in products.iter().enumerate() {
            a[0][k] = x;
            b[k] = [y; N];
        }
        let mut d = [[c.to_bits(); N]];
        m.product(&a, &b, &mut d);
        f32::from_bits(d[0][7])
    };
    // 1 + 2⁻²⁵ − 1: the small term survives with 25 bits, not with 24.
    let sum = [(one, one), (one, small(-25)), (one | 0x8000, one)];
    assert_eq!(dot(Tensor::Ideal, &sum, 0.0), 2f32.powi(-25));
    assert_eq!(dot(Tensor::Hopper, &sum, 0.0), 2f32.powi(-25));
    assert_eq!(dot(Tensor::Ampere, &sum, 0.0), 0.0);
    // On Ampere the second half of k finds a sum that was already cut to 24 bits.
    let mut far = vec![(0, 0); 16];
    (far[0], far[1], far[9]) = ((one, one), (one, small(-24)), (one | 0x8000, one));
    assert_eq!(dot(Tensor::Hopper, &far, 0.0), 2f32.powi(-24));
    assert_eq!(dot(Tensor::Ampere, &far, 0.0), 0.0);
    // Cut, not rounded: 1 + 3·2⁻²⁵ lies nearer to 1 + 2⁻²³.
    assert_eq!(dot(Tensor::Hopper, &[(one, small(-24)), (one, small(-25))], 1.0), 1.0);
    assert_eq!(dot(Tensor::Ideal, &[(one, small(-24)), (one, small(-25))], 1.0), 1.0 + 2f32.powi(-23));
    assert_eq!(dot(Tensor::Hopper, &[(one, small(-24)), (one, small(-25))], -1.0), -1.0 + 2f32.powi(-23));
}

/// Fragments carry the matrices, for every shape; tf32 is cut, not rounded.
#[test]
fn fragments_are_matrices() {
    for m in every() {
        let (a, b, c) = matrices(&m, 0, 3);
        let (ra, rb, rc) = m.registers();
        let (mut fa, mut fb, mut fc) = (vec![[0u32; 32]; ra], vec![[0u32; 32]; rb], vec![[0u32; 32]; rc]);
        let single = m.element == Element::Tf32;
        for lane in 0..32 {
            for r in 0..ra {
                let get = |(i, k): (usize, usize)| a[i][k];
                let pair = || get(matrix::a16(lane, r, 0)) | get(matrix::a16(lane, r, 1)) << 16;
                fa[r][lane] = if single { get(matrix::a32(lane, r)) } else { pair() };
            }
            for r in 0..rb {
                let get = |(k, j): (usize, usize)| b[k][j];
                let pair = || get(matrix::b16(lane, r, 0)) | get(matrix::b16(lane, r, 1)) << 16;
                fb[r][lane] = if single { get(matrix::b32(lane, r)) } else { pair() };
            }
            for r in 0..rc {
                let get = |(i, j): (usize, usize)| c[i][j];
                let pair = || get(matrix::c16(lane, r, 0)) | get(matrix::c16(lane, r, 1)) << 16;
                fc[r][lane] = if m.half_sum { pair() } else { get(matrix::c32(lane, r)) };
            }
        }
        let mut d = vec![[0u32; 32]; rc];
        let [fa, fb, fc] = [&fa, &fb, &fc].map(|f| f.iter().collect::<Vec<_>>());
        m.fragments(&fa, &fb, &fc, &mut d);
        let mut want = c.clone();
        m.product(&a, &b, &mut want);
        for lane in 0..32 {
            for r in 0..rc {
                let get = |(i, j): (usize, usize)| want[i][j];
                let pair = || get(matrix::c16(lane, r, 0)) | get(matrix::c16(lane, r, 1)) << 16;
                assert_eq!(d[r][lane], if m.half_sum { pair() } else { get(matrix::c32(lane, r)) }, "{m:?}");
            }
        }
    }
    let m = Mma { element: Element::Tf32, half_sum: false, k: 4, model: Tensor::Ideal };
    let (mut a, mut b, mut d) = ([[0; K]], [[0; N]; K], [[0; N]]);
    (a[0][0], b[0][0]) = (0x3f80_1fff, 1f32.to_bits());
    m.product(&a, &b, &mut d);
    assert_eq!(d[0][0], 1f32.to_bits());
}
