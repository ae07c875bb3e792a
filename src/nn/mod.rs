//! Networks as tables: each row a layer in the words of the papers. The table is the network: it builds its parameters, runs,
//! differentiates and prints itself. Rows may nest.
//!
//! ```
//! use lae_engine::core::{params::{Kind, ParamStore}, shape::shape};
//! use lae_engine::nn::{BN, Filters, Initialisation, Layer::*, Net, Window};
//!
//! let block = vec![Conv(Filters::new(8, 3).same()), BN, Relu, Conv(Filters::new(8, 3).same()), BN];
//! let table = [
//!     Conv(Filters::new(8, 3).stride(2).pad(1)),
//!     Residual { main: block, skip: vec![] },
//!     Relu,
//!     Branches(vec![vec![MaxPool(Window::every(2))], vec![Conv(Filters::new(4, 2).stride(2))]]),
//!     Gap,
//!     Linear(2),
//! ];
//! let mut store = ParamStore::<f32>::new(0);
//! let net = Net::build(&mut store, "net", shape(1, 16, 16, 3), &table, Initialisation::KaimingIn, Kind::Trained)?;
//! assert_eq!(net.output(), shape(1, 1, 1, 2));
//! assert!(store.find("net.1.main.0.weight").is_some() && store.find("net.3.1.0.bias").is_some());
//! println!("{}", net.describe(&store));
//! # Ok::<(), lae_engine::Error>(())
//! ```

mod init;
mod layer;
mod net;
pub mod weights;

pub use init::Initialisation;
pub use layer::{BN, Filters, Layer, Window};
pub use net::{Context, Mode, Net};
