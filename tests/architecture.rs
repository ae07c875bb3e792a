//! The networks are the paper's: parameter counts and the sizes of Table 2.

use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::models::dcgan::{Arch, Dcgan};
use lae_engine::models::lae::{self, Lae, LaeConfig};
use lae_engine::models::vgg::Vgg;

fn sizes(net: &lae_engine::nn::Net) -> Vec<(u32, u32)> {
    net.rows().map(|(_, s)| (s.c, s.h)).collect()
}

#[test]
fn table_2() {
    let c = LaeConfig::default();
    assert_eq!(lae::encoder(&c, 256).unwrap(), lae::ENCODER);
    assert_eq!(lae::decoder(&c, 256, &[]).unwrap(), lae::DECODER);
    let mut store = ParamStore::<f32>::new(0);
    let net = Lae::build(&mut store, &c, 256).unwrap();
    let encoder = [
        (64, 128),
        (64, 128),
        (128, 64),
        (128, 64),
        (128, 64),
        (256, 32),
        (256, 32),
        (256, 32),
        (512, 16),
        (512, 16),
        (512, 16),
        (512, 16),
        (512, 16),
        (512, 1),
        (128, 1),
    ];
    assert_eq!(sizes(&net.encoder), encoder);
    let up = [(256, 4), (128, 8), (64, 16), (32, 32), (16, 64), (8, 128)];
    let mut decoder: Vec<(u32, u32)> = up.iter().flat_map(|&s| [s; 3]).collect();
    decoder.extend([(3, 256); 2]);
    assert_eq!(sizes(&net.decoder), decoder);
    assert_eq!(store.count(Lae::ENCODER_GROUP, Kind::Trained), 5_183_808);
    assert_eq!(store.count("lae.decoder.", Kind::Trained), 1_224_555);
    let mut store = ParamStore::<f32>::new(0);
    Lae::build(&mut store, &LaeConfig { enc_kernel: 3, ..c }, 256).unwrap();
    assert_eq!(store.count(Lae::ENCODER_GROUP, Kind::Trained), 3_978_240);
}

#[test]
fn comparator_and_discriminator() {
    let mut store = ParamStore::<f32>::new(0);
    let vgg = Vgg::build(&mut store, 256, "conv4_3", true, 1.0).unwrap();
    assert_eq!(store.count(Vgg::GROUP, Kind::Frozen), 7_635_264);
    assert_eq!(sizes(&vgg.net).last(), Some(&(512, 32)));
    for (size, count) in [(32, 663_296), (64, 2_765_568), (128, 6_960_896), (256, 11_156_224)] {
        let mut store = ParamStore::<f32>::new(0);
        Dcgan::build(&mut store, Arch::Extended, size, 64).unwrap();
        assert_eq!(store.count(Dcgan::GROUP, Kind::Trained), count, "size {size}");
    }
    let mut store = ParamStore::<f32>::new(0);
    Dcgan::build(&mut store, Arch::Slim, 256, 64).unwrap();
    assert_eq!(store.count(Dcgan::GROUP, Kind::Trained), 2_804_416);
}
