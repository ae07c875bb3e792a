//! Calls of functions that have no body: what the device's system provides.

use super::decoder::{Decoder, Done};
use super::memory::rare;
use crate::op::What;
use crate::source::Operand;

/// Decodes a call; `name` is a function without a body.
pub(super) fn call(d: &mut Decoder, name: &str, args: &[Operand], rets: &[Operand]) -> Done {
    let expect = |n: usize, results: usize| match (args.len(), rets.len()) {
        (a, r) if a >= n && r == results => Ok(()),
        (a, r) => Err(format!("`{name}` takes {n} parameters and returns {results} values, not {a} and {r}")),
    };
    let what = match name {
        "vprintf" => {
            if args.len() != 2 || rets.len() > 1 {
                expect(2, 1)?;
            }
            let ret = rets.first().map(|o| d.param_offset(o)).transpose()?;
            What::Printf { format: d.param_offset(&args[0])?, args: d.param_offset(&args[1])?, ret }
        }
        "malloc" => {
            expect(1, 1)?;
            What::Malloc { size: d.param_offset(&args[0])?, ret: d.param_offset(&rets[0])? }
        }
        "free" => {
            expect(1, 0)?;
            What::Free { pointer: d.param_offset(&args[0])? }
        }
        "__assertfail" => {
            expect(3, 0)?;
            let mut params = [0; 3];
            for (at, o) in params.iter_mut().zip(args) {
                *at = d.param_offset(o)?;
            }
            What::Assert { params }
        }
        _ => return Err(format!("call of the external function `{name}` is not supported")),
    };
    rare(d, what, None, &[], &[])
}
