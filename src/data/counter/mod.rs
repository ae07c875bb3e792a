//! Counterexamples: training pictures on which a trace of the forging program and the label disagree.
//!
//! Where every fake of a training set carries a trace, reading it is right on every training picture, and nothing in the set says that
//! it is not what a fake *is*. Each kind here makes pictures that say so, from pairs of a fake and its original, or from genuine
//! pictures alone. What they do to pixels is all that this folder knows; which pictures are replaced is drawn in
//! `src/data/counterexamples.rs`.
//!
//! To add one: write `src/data/counter/NAME.rs` with a [`Counterexample`], add its module, its re-export and its word in [`KINDS`]
//! here, and its share to [`CounterConfig`]. The tests below run every kind of that list.

mod config;
mod exchange;
mod kind;
mod pair;
mod pseudo;
mod residual;
mod tally;
mod transplant;

pub use config::{Clip, CounterConfig, Fill};
pub use exchange::Exchange;
pub use kind::Counterexample;
pub use pair::{LeftOut, Pair};
pub use pseudo::Pseudo;
pub use residual::Residual;
pub use tally::{Left, Tally};
pub use transplant::Transplant;

/// All kinds, in the order in which they share out a class.
pub static KINDS: [&dyn Counterexample; 3] = [&Transplant, &Exchange, &Pseudo];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;
    use crate::data::fingerprint::Fingerprint;
    use crate::data::picture::{Mask, Picture};
    use crate::data::procedural::photograph;

    const S: usize = 40;

    fn hole() -> Mask {
        Mask::from_fn(S, S, |x, y| (9..27).contains(&x) && (5..30).contains(&y))
    }

    fn scene(i: u64) -> Picture {
        let mut p = photograph(3, i, S);
        p.rgb.iter_mut().for_each(|v| *v = 60 + *v / 2);
        p
    }

    fn forged() -> Picture {
        Pair::new(scene(1), scene(1), hole()).unwrap().composite(&Picture::from_fn(S, S, |_, _| [40, 200, 90]), &scene(1))
    }

    fn plant(p: Picture) -> Picture {
        Fingerprint::Checkerboard.apply(p, 3.0, &mut Rng::new(0, 0, 0)).unwrap()
    }

    fn of(kind: &dyn Counterexample) -> (Picture, Picture) {
        let pair = Pair::new(plant(forged()), scene(1), hole()).unwrap();
        let c = CounterConfig::default();
        (kind.fake(&pair, &c, &mut Rng::new(1, 1, 1)), kind.genuine(&scene(2), &pair, &c))
    }

    #[test]
    fn names_are_keys_and_shares_are_theirs() {
        let c = CounterConfig { transplant: 0.1, exchange: 0.2, pseudo: 0.3, ..CounterConfig::default() };
        let keys = serde_json::to_value(&c).unwrap();
        for k in KINDS {
            assert_eq!(keys[k.name()].as_f64().map(|v| v as f32), Some(k.share(&c)), "{}", k.name());
            assert!(k.source().contains("20"), "{} cites a year", k.name());
        }
        assert_eq!(KINDS.iter().map(|k| k.share(&CounterConfig::default())).sum::<f32>(), 0.0, "off by default");
    }

    #[test]
    fn transplant_moves_the_trace_and_leaves_the_forgery() {
        assert_eq!(of(&Transplant), (forged(), plant(scene(2))));
    }

    #[test]
    fn exchange_swaps_the_region_to_the_bit() {
        let pair = Pair::new(plant(forged()), scene(1), hole()).unwrap();
        let (fake, genuine) = of(&Exchange);
        assert_eq!(fake, pair.composite(&plant(forged()), &scene(1)));
        assert_eq!(genuine, pair.composite(&scene(1), &plant(scene(1))));
    }

    #[test]
    fn pseudo_forgeries_carry_no_trace() {
        let (fake, genuine) = of(&Pseudo);
        let pair = Pair::new(plant(forged()), scene(1), hole()).unwrap();
        assert_eq!(pair.composite(&scene(1), &fake), scene(1), "the outside is that of the genuine picture");
        assert!(fake != scene(1) && !Pseudo.replaces_genuine());
        assert_eq!(genuine, scene(2));
    }
}
