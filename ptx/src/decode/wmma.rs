//! `wmma`, taken apart into what ptxas makes of it for sm_80 and later: loads and stores of 32 or 64 bits to a lane, `movmatrix`
//! where memory runs across a fragment of 16-bit elements, and two `mma` for each product. Every check and every counter of these
//! instructions therefore covers `wmma`.
//!
//! A fragment is opaque by definition. Here it has the layout of the `mma` fragments that it becomes: tiles of 8×8 elements
//! (tf32: 8×4), in which lane 4·g + t owns row g, and its registers count along t. Both `mma` are m16n8; m8n32 is Dᵀ = Bᵀ·Aᵀ. An
//! f16 fragment of A or B has eight registers in every shape; those that are left over repeat the first.

use super::decoder::{Decoder, Done, arity, between};
use super::memory::space;
use super::numeric;
use super::tensor::{product_of, put_product, registers, registers_of};
use crate::num::half::{Half, widen as widen_half};
use crate::num::mma::Element;
use crate::op::{Bank, Code, Extra, MatrixOp, Mem, SINK, Tile};
use crate::program::{Preset, Special};
use crate::source::{Instr, Operand, Space};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matrix {
    A,
    B,
    /// C or D.
    C,
}

/// m, n and k of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

impl Shape {
    fn new(name: &str) -> Shape {
        match name {
            "m16n16k16" => Shape { m: 16, n: 16, k: 16 },
            "m8n32k16" => Shape { m: 8, n: 32, k: 16 },
            "m32n8k16" => Shape { m: 32, n: 8, k: 16 },
            "m8n8k4" => Shape { m: 8, n: 8, k: 4 },
            "m8n8k32" => Shape { m: 8, n: 8, k: 32 },
            "m8n8k128" => Shape { m: 8, n: 8, k: 128 },
            _ => Shape { m: 16, n: 16, k: 8 },
        }
    }

    /// Whether the `mma` compute the transpose of D.
    fn transposed(self) -> bool {
        self.n == 32
    }

    /// Extents of the matrix in the operand of `mma` that it becomes: along g, along t. Those of A and B end in k.
    fn extents(self, matrix: Matrix) -> (usize, usize) {
        match matrix {
            Matrix::A => (self.m, self.k),
            Matrix::B => (self.n, self.k),
            Matrix::C if self.transposed() => (self.n, self.m),
            Matrix::C => (self.m, self.n),
        }
    }

    /// Whether t counts along what is contiguous in memory.
    fn along(self, matrix: Matrix, row: bool) -> bool {
        match matrix {
            Matrix::A => row,
            Matrix::B => !row,
            Matrix::C => row != self.transposed(),
        }
    }

    /// Elements from one row (or column) to the next if the instruction does not say.
    fn stride(self, matrix: Matrix, row: bool) -> usize {
        let (rows, columns) = match matrix {
            Matrix::A => (self.m, self.k),
            Matrix::B => (self.k, self.n),
            Matrix::C => (self.m, self.n),
        };
        if row { columns } else { rows }
    }

    /// Where the tiles of a fragment begin, (along g, along t), in order of its registers; `width` is a tile's extent along t.
    fn tiles(self, matrix: Matrix, width: usize) -> Vec<(usize, usize)> {
        let (g, t) = self.extents(matrix);
        // The left operand of `mma` has blocks of 16 rows, the right one of 8 columns; D has blocks of m16n8.
        let left = (matrix == Matrix::A) != self.transposed();
        let block = if left || matrix == Matrix::C { 16.min(g) } else { 8 };
        let mut tiles = Vec::new();
        for g0 in (0..g).step_by(block) {
            for t0 in (0..t).step_by(width) {
                tiles.extend((g0..g0 + block).step_by(8).map(|g| (g, t0)));
            }
        }
        tiles
    }
}

/// A matrix in memory, as a load or store names it.
struct Place {
    shape: Shape,
    matrix: Matrix,
    row: bool,
    /// Bits of an element.
    bits: usize,
    /// Neighbours along t that a lane owns.
    run: usize,
    tiles: Vec<(usize, usize)>,
    /// Registers of the instruction.
    registers: usize,
    space: Option<Space>,
}

impl Place {
    fn new(mods: &[&str]) -> Place {
        let [_, matrix, _, _, layout, shape, .., ty] = *mods else { unreachable!("the form has them all") };
        let matrix = match matrix {
            "a" => Matrix::A,
            "b" => Matrix::B,
            _ => Matrix::C,
        };
        let shape = Shape::new(shape);
        // A register holds as many elements as fit along t: a tile is four registers wide.
        let (bits, run) = match ty {
            "f16" | "bf16" => (16, 2),
            "f64" => (64, if matrix == Matrix::C { 2 } else { 1 }),
            "f32" | "s32" => (32, 2),
            "tf32" => (32, 1),
            _ => {
                let bits: usize = ty[1..].parse().expect("the form lists types");
                (bits, 32 / bits)
            }
        };
        let tiles = shape.tiles(matrix, 4 * run);
        let registers = match (matrix, ty) {
            (Matrix::C, "f32" | "s32" | "f64") => 2 * tiles.len(),
            (Matrix::A | Matrix::B, "f16") => 8,
            _ => tiles.len(),
        };
        Place { shape, matrix, row: layout == "row", bits, run, tiles, registers, space: space(mods) }
    }

    /// Whether a tile's rows are contiguous in memory; if not, its columns are.
    fn along(&self) -> bool {
        self.shape.along(self.matrix, self.row)
    }

    /// Bank of the fragment's registers.
    fn bank(&self) -> Bank {
        if self.bits == 64 { Bank::L } else { Bank::W }
    }

    /// Whether a register holds several elements that lie apart in memory, and are loaded one by one.
    fn scattered(&self) -> bool {
        self.bits == 8 && !self.along()
    }

    /// Whether a tile lies across and is turned by `movmatrix`.
    fn turned(&self) -> bool {
        self.bits == 16 && !self.along()
    }

    fn store(&self) -> Code {
        match self.space {
            Some(Space::Global) => Code::StGlobal,
            Some(Space::Shared) => Code::StShared,
            _ => Code::StGeneric,
        }
    }

    fn load(&self) -> Code {
        match self.space {
            Some(Space::Global) => Code::LdGlobal,
            Some(Space::Shared) => Code::LdShared,
            _ => Code::LdGeneric,
        }
    }

    /// Emits the check of the operands, and returns this lane's address in each tile: a register and an offset. For pairs that
    /// lie across, each tile has an address for each element that a lane owns.
    fn addresses(&self, d: &mut Decoder, at: &Operand, stride: Option<&Operand>, write: bool) -> Result<Vec<Address>, String> {
        let (base, wide, imm) = d.address(at, self.space)?;
        d.width = 4;
        let stride = match stride {
            Some(o) => d.src(o, Bank::W)?,
            None => d.constant(Bank::W, self.shape.stride(self.matrix, self.row) as u64),
        };
        let (one, size) = (d.constant(Bank::W, 1), d.constant(Bank::W, (self.bits / 8).max(1) as u64));
        let base = if wide { base } else { product(d, base, one) };
        let bytes = if self.bits == 64 { 8 } else { 4 };
        let tile = Tile { space: self.space, write, align: bytes * self.registers as u32, bits: self.bits as u32 };
        let x = d.extra(Extra::Tile(tile))?;
        let op = d.emit(Code::Tile);
        (op.a, op.b, op.imm, op.x) = (base, stride, imm, x);

        // Lane 4·g + t begins at row `major` and column `minor` of a tile in memory.
        let lane = d.preset(Bank::W, Preset::Special(Special::LaneId));
        let (two, three) = (d.constant(Bank::W, 2), d.constant(Bank::W, 3));
        let (g, mut t) = (d.temp(Bank::W), d.temp(Bank::W));
        d.put(Code::ShrU32, g, [lane, two, 0]);
        d.put(Code::And32, t, [lane, three, 0]);
        // From here on, what lies below a byte is counted in bytes.
        let (run, stride) = match self.bits {
            8.. => (self.run, stride),
            bits => {
                let (part, shift) = (d.temp(Bank::W), d.constant(Bank::W, (8 / bits).ilog2() as u64));
                d.put(Code::ShrU32, part, [stride, shift, 0]);
                (4, part)
            }
        };
        if run > 1 {
            let (first, run) = (d.temp(Bank::W), d.constant(Bank::W, run as u64));
            d.put(Code::MulLo32, first, [t, run, 0]);
            t = first;
        }
        let (major, minor) = if self.along() || self.turned() { (g, t) } else { (t, g) };
        let (row, major, minor) = (product(d, stride, size), product(d, major, one), product(d, minor, size));
        let (inside, origin) = (d.temp(Bank::L), d.temp(Bank::L));
        d.put(Code::MadLo64, inside, [major, row, minor]);
        d.put(Code::Add64, origin, [base, inside, 0]);

        let mut rows = vec![(0, origin)];
        let mut list = Vec::new();
        for &(g0, t0) in &self.tiles {
            let (major, minor) = if self.along() { (g0, t0) } else { (t0, g0) };
            let rows_of_lane = if self.along() || self.turned() { 1 } else { self.run };
            for major in major..major + rows_of_lane {
                let register = match rows.iter().find(|r| r.0 == major) {
                    Some(r) => r.1,
                    None => {
                        let (k, to) = (d.constant(Bank::L, major as u64), d.temp(Bank::L));
                        d.put(Code::MadLo64, to, [k, row, origin]);
                        rows.push((major, to));
                        to
                    }
                };
                let plus = imm.checked_add((minor * self.bits / 8) as i32).ok_or("the offset is out of range")?;
                list.push((register, true, plus));
            }
        }
        Ok(list)
    }

    /// The registers of the fragment, grouped by memory access: one register, or two of 32 bits that are neighbours in memory.
    fn groups(&self, regs: &[u16]) -> Vec<Vec<u16>> {
        let each = if self.bits >= 32 && self.run == 2 && self.along() { 2 } else { 1 };
        regs.chunks(each).map(<[u16]>::to_vec).collect()
    }
}

/// As [`Decoder::address`] gives it.
type Address = (u16, bool, i32);

fn product(d: &mut Decoder, a: u16, b: u16) -> u16 {
    let t = d.temp(Bank::L);
    d.put(Code::MulWideU, t, [a, b, 0]);
    t
}

/// An access to the registers of a group.
fn words(place: &Place, group: &[u16]) -> Mem {
    let mut regs = [SINK; 4];
    regs[..group.len()].copy_from_slice(group);
    let wide = place.bits == 64;
    let bytes = if wide { 8 } else { 4 };
    Mem { bytes, count: group.len() as u8, signed: false, wide, half: false, address64: true, regs }
}

/// Four bytes of memory that lie apart, into one register.
fn gather(d: &mut Decoder, place: &Place, to: u16, at: &[Address]) -> Done {
    let mut sum = None;
    for (k, &at) in at.iter().enumerate() {
        let byte = d.temp(Bank::W);
        d.put_mem(place.load(), Mem { bytes: 1, ..words(place, &[byte]) }, at)?;
        sum = Some(match sum {
            None => byte,
            Some(sum) => {
                let (shift, up, all) = (d.constant(Bank::W, 8 * k as u64), d.temp(Bank::W), d.temp(Bank::W));
                d.put(Code::Shl32, up, [byte, shift, 0]);
                d.put(Code::Or32, all, [sum, up, 0]);
                all
            }
        });
    }
    d.put(Code::Mov32, to, [sum.expect("four bytes"), 0, 0]);
    Ok(())
}

pub(super) fn load(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    between(i, 2, 3)?;
    let place = Place::new(mods);
    let regs = registers_of(d, place.bank(), &i.operands[0], place.registers, true)?;
    let addresses = place.addresses(d, &i.operands[1], i.operands.get(2), false)?;
    if place.scattered() {
        for (&to, at) in regs.iter().zip(addresses.chunks(place.run)) {
            gather(d, &place, to, at)?;
        }
        return Ok(());
    }
    let distinct = if place.bits == 16 { place.tiles.len() } else { regs.len() };
    for (group, at) in place.groups(&regs[..distinct]).iter().zip(addresses) {
        if place.turned() {
            let t = d.temp(Bank::W);
            d.put_mem(place.load(), words(&place, &[t]), at)?;
            d.put(Code::MovMatrix, group[0], [t, 0, 0]);
        } else {
            d.put_mem(place.load(), words(&place, group), at)?;
        }
    }
    for k in distinct..regs.len() {
        d.put(Code::Mov32, regs[k], [regs[k % distinct], 0, 0]);
    }
    Ok(())
}

pub(super) fn store(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    between(i, 2, 3)?;
    let place = Place::new(mods);
    let regs = registers_of(d, place.bank(), &i.operands[1], place.registers, false)?;
    let addresses = place.addresses(d, &i.operands[0], i.operands.get(2), true)?;
    for (group, at) in place.groups(&regs).iter().zip(addresses) {
        if place.turned() {
            let t = d.temp(Bank::W);
            d.put(Code::MovMatrix, t, [group[0], 0, 0]);
            d.put_mem(place.store(), words(&place, &[t]), at)?;
        } else {
            d.put_mem(place.store(), words(&place, group), at)?;
        }
    }
    Ok(())
}

pub(super) fn mma(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let shape = Shape::new(mods[5]);
    let element = match mods[7] {
        "bf16" => Element::Bf16,
        "tf32" => Element::Tf32,
        _ => Element::F16,
    };
    // D and C may be f16 and f32 either way: sums are then f32.
    let (to_half, from_half) = (mods[6] == "f16", mods[mods.len() - 1] == "f16");
    let half_sum = to_half && from_half;
    let width = if element == Element::Tf32 { 4 } else { 8 };
    let distinct = |matrix| shape.tiles(matrix, width).len();
    let count = |matrix| if element == Element::F16 { 8 } else { distinct(matrix) };
    let sums = if half_sum { 4 } else { 8 };
    let results = registers(d, &i.operands[0], if to_half { 4 } else { 8 }, true)?;
    let to: Vec<u16> = if to_half && !half_sum { (0..sums).map(|_| d.temp(Bank::W)).collect() } else { results.clone() };
    let mut a = registers(d, &i.operands[1], count(Matrix::A), false)?;
    let mut b = registers(d, &i.operands[2], count(Matrix::B), false)?;
    let mut c = registers(d, &i.operands[3], if from_half { 4 } else { 8 }, false)?;
    if from_half && !half_sum {
        c = widen(d, &c);
    }
    a.truncate(distinct(Matrix::A));
    b.truncate(distinct(Matrix::B));
    let (left, right) = if shape.transposed() { (b, a) } else { (a, b) };
    // The larger operand is taken in two halves; D has its halves in the same order.
    let half = |regs: &[u16], whole: usize, j: usize| -> Vec<u16> {
        if regs.len() == whole { regs.to_vec() } else { regs[whole * j..whole * (j + 1)].to_vec() }
    };
    let n = sums / 2;
    let second: Vec<u16> = [half(&left, 4, 1), half(&right, 2, 1), c[n..].to_vec()].concat();
    // The first product must not overwrite what the second reads.
    let clash = to[..n].iter().any(|r| second.contains(r));
    let first: Vec<u16> = if clash { (0..n).map(|_| d.temp(Bank::W)).collect() } else { to[..n].to_vec() };
    for (j, sum) in [first.as_slice(), &to[n..]].into_iter().enumerate() {
        let regs = [sum.to_vec(), half(&left, 4, j), half(&right, 2, j), c[n * j..n * (j + 1)].to_vec()];
        let x = d.extra(Extra::Mma(MatrixOp { element, half_sum, k: shape.k, regs }))?;
        d.emit(Code::Mma).x = x;
    }
    if clash {
        for (&from, &to) in first.iter().zip(&to) {
            d.put(Code::Mov32, to, [from, 0, 0]);
        }
    }
    if to_half && !half_sum {
        for (pair, &result) in to.chunks(2).zip(&results) {
            d.put_num(numeric::cvt_pair(&["rn", "f16x2", "f32"]), result, [pair[1], pair[0], 0]);
        }
    }
    Ok(())
}

/// Registers of two f16 as two of f32 each: the fragments differ in nothing else.
fn widen(d: &mut Decoder, c: &[u16]) -> Vec<u16> {
    let mut wide = Vec::new();
    for &pair in c {
        let (low, high) = (d.temp(Bank::W), d.temp(Bank::W));
        let op = d.emit(Code::Unpack16);
        (op.a, op.d, op.b) = (pair, low, high);
        for half in [low, high] {
            let t = d.temp(Bank::W);
            d.put_num(numeric::ww(|x| widen_half(x & 0xffff, Half::F16)), t, [half, 0, 0]);
            wide.push(t);
        }
    }
    wide
}

/// `wmma.mma` of integers, bits and f64.
pub(super) fn mma_other(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let at = mods.iter().position(|m| m.starts_with('m') && *m != "mma").expect("the form names a shape");
    let shape = Shape::new(mods[at]);
    let types: Vec<&str> = mods[at + 1..].iter().filter(|m| !matches!(**m, "rn" | "satfinite")).copied().collect();
    let whole = product_of(mods, types[1], types[2], types[0], if shape.m * shape.n == 64 { 8 } else { 16 }, shape.k);
    let bank = if whole.double() { Bank::L } else { Bank::W };
    let (left_regs, right_regs, n) = whole.registers();
    // What a register of A or B covers, 8 rows or columns deep.
    let sums = shape.m * shape.n / 32;
    let to = registers_of(d, bank, &i.operands[0], sums, true)?;
    let a = registers_of(d, bank, &i.operands[1], left_regs * shape.m / whole.m, false)?;
    let b = registers_of(d, bank, &i.operands[2], right_regs * shape.n / 8, false)?;
    let c = registers_of(d, bank, &i.operands[3], sums, false)?;
    let (left, right) = if shape.transposed() { (b, a) } else { (a, b) };
    let mut results = Vec::new();
    let parts = sums / n;
    for j in 0..parts {
        let half = |regs: &[u16], whole: usize| {
            if regs.len() == whole { regs.to_vec() } else { regs[whole * j..whole * (j + 1)].to_vec() }
        };
        // A part must not overwrite what the next one reads.
        let sum: Vec<u16> = if parts == 1 { to.clone() } else { (0..n).map(|_| d.temp(bank)).collect() };
        put_product(d, whole, [sum.clone(), half(&left, left_regs), half(&right, right_regs), c[n * j..n * (j + 1)].to_vec()])?;
        results.extend(sum);
    }
    if parts > 1 {
        for (&from, &to) in results.iter().zip(&to) {
            d.put(if bank == Bank::L { Code::Mov64 } else { Code::Mov32 }, to, [from, 0, 0]);
        }
    }
    Ok(())
}
