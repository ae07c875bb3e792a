//! `wmma`, taken apart into what ptxas makes of it for sm_80 and later: loads and stores of 32 or 64 bits to a lane, `movmatrix`
//! where memory runs across a fragment of 16-bit elements, and two `mma` for each product. Every check and every counter of these
//! instructions therefore covers `wmma`.
//!
//! A fragment is opaque by definition. Here it has the layout of the `mma` fragments that it becomes: tiles of 8×8 elements
//! (tf32: 8×4), in which lane 4·g + t owns row g, and its registers count along t. Both `mma` are m16n8; m8n32 is Dᵀ = Bᵀ·Aᵀ. An
//! f16 fragment of A or B has eight registers in every shape; those that are left over repeat the first.

use super::decoder::{Decoder, Done, arity, between};
use super::memory::space;
use super::tensor::registers;
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
            _ => Shape { m: 16, n: 16, k: 8 },
        }
    }

    /// Whether the `mma` compute the transpose of D.
    fn transposed(self) -> bool {
        self.m == 8
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
        let block = if left || matrix == Matrix::C { 16 } else { 8 };
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
    /// Bytes of an element.
    bytes: usize,
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
        let tiles = shape.tiles(matrix, if ty == "tf32" { 4 } else { 8 });
        let registers = match (matrix, ty) {
            (Matrix::C, "f32") => 2 * tiles.len(),
            (Matrix::A | Matrix::B, "f16") => 8,
            _ => tiles.len(),
        };
        let bytes = if ty.ends_with("32") { 4 } else { 2 };
        Place { shape, matrix, row: layout == "row", bytes, tiles, registers, space: space(mods) }
    }

    /// Whether a tile's rows are contiguous in memory; if not, its columns are.
    fn along(&self) -> bool {
        self.shape.along(self.matrix, self.row)
    }

    /// Neighbours along t that a lane owns.
    fn pair(&self) -> bool {
        self.bytes == 2 || self.matrix == Matrix::C
    }

    /// Whether a tile lies across and is turned by `movmatrix`.
    fn turned(&self) -> bool {
        self.bytes == 2 && !self.along()
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
    /// lie across, each tile has two addresses, one for each element of the pair.
    fn addresses(&self, d: &mut Decoder, at: &Operand, stride: Option<&Operand>, write: bool) -> Result<Vec<Address>, String> {
        let (base, wide, imm) = d.address(at, self.space)?;
        d.width = 4;
        let stride = match stride {
            Some(o) => d.src(o, Bank::W)?,
            None => d.constant(Bank::W, self.shape.stride(self.matrix, self.row) as u64),
        };
        let (one, size) = (d.constant(Bank::W, 1), d.constant(Bank::W, self.bytes as u64));
        let base = if wide { base } else { product(d, base, one) };
        let tile = Tile { space: self.space, write, align: 4 * self.registers as u32, bytes: self.bytes as u32 };
        let x = d.extra(Extra::Tile(tile))?;
        let op = d.emit(Code::Tile);
        (op.a, op.b, op.imm, op.x) = (base, stride, imm, x);

        // Lane 4·g + t begins at row `major` and column `minor` of a tile in memory.
        let lane = d.preset(Bank::W, Preset::Special(Special::LaneId));
        let (two, three) = (d.constant(Bank::W, 2), d.constant(Bank::W, 3));
        let (g, mut t) = (d.temp(Bank::W), d.temp(Bank::W));
        d.put(Code::ShrU32, g, [lane, two, 0]);
        d.put(Code::And32, t, [lane, three, 0]);
        if self.pair() {
            let twice = d.temp(Bank::W);
            d.put(Code::MulLo32, twice, [t, two, 0]);
            t = twice;
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
            let second = self.pair() && !self.along() && !self.turned();
            for major in major..=major + second as usize {
                let register = match rows.iter().find(|r| r.0 == major) {
                    Some(r) => r.1,
                    None => {
                        let (k, to) = (d.constant(Bank::L, major as u64), d.temp(Bank::L));
                        d.put(Code::MadLo64, to, [k, row, origin]);
                        rows.push((major, to));
                        to
                    }
                };
                let plus = imm.checked_add((minor * self.bytes) as i32).ok_or("the offset is out of range")?;
                list.push((register, true, plus));
            }
        }
        Ok(list)
    }

    /// The registers of the fragment, grouped by memory access: one register, or two of 32 bits that are neighbours in memory.
    fn groups(&self, regs: &[u16]) -> Vec<Vec<u16>> {
        let each = if self.bytes == 4 && self.pair() && self.along() { 2 } else { 1 };
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

fn words(group: &[u16]) -> Mem {
    let mut regs = [SINK; 4];
    regs[..group.len()].copy_from_slice(group);
    Mem { bytes: 4, count: group.len() as u8, signed: false, wide: false, half: false, address64: true, regs }
}

pub(super) fn load(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    between(i, 2, 3)?;
    let place = Place::new(mods);
    let regs = registers(d, &i.operands[0], place.registers, true)?;
    let addresses = place.addresses(d, &i.operands[1], i.operands.get(2), false)?;
    let distinct = if place.bytes == 2 { place.tiles.len() } else { regs.len() };
    for (group, at) in place.groups(&regs[..distinct]).iter().zip(addresses) {
        if place.turned() {
            let t = d.temp(Bank::W);
            d.put_mem(place.load(), words(&[t]), at)?;
            d.put(Code::MovMatrix, group[0], [t, 0, 0]);
        } else {
            d.put_mem(place.load(), words(group), at)?;
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
    let regs = registers(d, &i.operands[1], place.registers, false)?;
    let addresses = place.addresses(d, &i.operands[0], i.operands.get(2), true)?;
    for (group, at) in place.groups(&regs).iter().zip(addresses) {
        if place.turned() {
            let t = d.temp(Bank::W);
            d.put(Code::MovMatrix, t, [group[0], 0, 0]);
            d.put_mem(place.store(), words(&[t]), at)?;
        } else {
            d.put_mem(place.store(), words(group), at)?;
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
    if mods[6] != mods[mods.len() - 1] {
        return Err("D and C of different types are not supported".into());
    }
    let half_sum = mods[6] == "f16";
    let width = if element == Element::Tf32 { 4 } else { 8 };
    let distinct = |matrix| shape.tiles(matrix, width).len();
    let count = |matrix| if element == Element::F16 { 8 } else { distinct(matrix) };
    let sums = if half_sum { 4 } else { 8 };
    let to = registers(d, &i.operands[0], sums, true)?;
    let mut a = registers(d, &i.operands[1], count(Matrix::A), false)?;
    let mut b = registers(d, &i.operands[2], count(Matrix::B), false)?;
    let c = registers(d, &i.operands[3], sums, false)?;
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
    Ok(())
}
