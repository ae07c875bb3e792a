//! Huffman codes of a JPEG file, read block by block for their structure alone: no value is kept but the DC coefficient and, for
//! refinement scans, which coefficients are not zero.

/// A Huffman table: codes of up to ten bits by look-up, longer ones by their first code of each length.
pub struct Table {
    /// length << 8 | symbol; 0 = a longer code, or none.
    fast: Vec<u16>,
    /// For each length: first code, number of codes, place of the first symbol.
    lengths: [(u32, u32, usize); 17],
    symbols: Vec<u8>,
}

const FAST: u32 = 10;

impl Table {
    /// None: more codes than there can be.
    pub fn new(counts: &[u8], symbols: &[u8]) -> Option<Table> {
        let mut table = Table { fast: vec![0; 1 << FAST], lengths: [(0, 0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            let n = counts[length as usize - 1] as u32;
            table.lengths[length as usize] = (code, n, place);
            for k in 0..n {
                if length <= FAST && code + k < 1 << length {
                    let first = ((code + k) << (FAST - length)) as usize;
                    let entry = (length as u16) << 8 | symbols[place + k as usize] as u16;
                    table.fast[first..first + (1 << (FAST - length))].fill(entry);
                }
            }
            code += n;
            place += n as usize;
            if code > 1 << length {
                return None;
            }
            code <<= 1;
        }
        Some(table)
    }
}

/// Bits of entropy-coded data, up to the next marker.
pub struct Bits<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// The next bits, from the top.
    pub held: u64,
    pub n: u32,
}

const SHORT: &str = "the data end early";

impl Bits<'_> {
    fn fill(&mut self) {
        while self.n <= 56 {
            let Some(&b) = self.bytes.get(self.at) else { return };
            self.at += match (b, self.bytes.get(self.at + 1)) {
                (0xFF, Some(0)) => 2, // a stuffed byte
                (0xFF, _) => return,
                _ => 1,
            };
            self.held |= (b as u64) << (56 - self.n);
            self.n += 8;
        }
    }

    fn skip(&mut self, k: u32) -> Result<(), &'static str> {
        if k > self.n {
            self.fill();
            if k > self.n {
                return Err(SHORT);
            }
        }
        self.held <<= k;
        self.n -= k;
        Ok(())
    }

    fn take(&mut self, k: u32) -> Result<u32, &'static str> {
        if k == 0 {
            return Ok(0);
        }
        if k > self.n {
            self.fill();
        }
        let bits = (self.held >> (64 - k)) as u32;
        self.skip(k)?;
        Ok(bits)
    }

    fn symbol(&mut self, table: &Table) -> Result<u8, &'static str> {
        if self.n < 16 {
            self.fill();
        }
        let entry = table.fast[(self.held >> (64 - FAST)) as usize];
        if entry != 0 {
            self.skip((entry >> 8) as u32)?;
            return Ok(entry as u8);
        }
        for length in FAST + 1..=16 {
            let (first, n, place) = table.lengths[length as usize];
            let code = (self.held >> (64 - length)) as u32;
            if code.wrapping_sub(first) < n {
                self.skip(length)?;
                return Ok(table.symbols[place + (code - first) as usize]);
            }
        }
        Err(if self.n < 16 { SHORT } else { "a code that is in no table" })
    }

    /// A value of `size` bits, negative where its first bit is 0.
    fn value(&mut self, size: u32) -> Result<i32, &'static str> {
        let bits = self.take(size)? as i32;
        Ok(if size == 0 || bits >> (size - 1) == 1 { bits } else { bits - (1 << size) + 1 })
    }
}

/// A scan's parameters, of which those after `parts` matter for progressive files.
pub struct Scan {
    /// Component, its DC and AC table.
    pub parts: Vec<(usize, usize, usize)>,
    pub first: usize,
    pub last: usize,
    pub high: u8,
    pub low: u8,
}

/// Whether a coefficient of at least this size lies outside of what pictures of 8 bits have: at most 1024 (the DC coefficient of black),
/// a rounding by half a step, and a quarter more for encoders that sharpen beyond white.
fn outside(size: i32, step: u16) -> bool {
    size.saturating_mul(step as i32).abs() > 1280 + 2 * step as i32
}

/// Passes over the padding bits and a restart marker with the number `turn`.
pub fn restart(bits: &mut Bits, turn: u8) -> Result<(), &'static str> {
    bits.fill();
    if bits.n >= 8 {
        return Err("data left over before a restart marker");
    }
    while bits.bytes.get(bits.at + 1) == Some(&0xFF) {
        bits.at += 1;
    }
    if bits.bytes.get(bits.at..bits.at + 2) != Some(&[0xFF, 0xD0 + turn]) {
        return Err("a restart marker is missing or out of turn");
    }
    bits.at += 2;
    (bits.held, bits.n) = (0, 0);
    Ok(())
}

pub type Tables<'a> = (Option<&'a Table>, Option<&'a Table>);

const NO_TABLE: &str = "a Huffman table is missing";
const OUTSIDE: &str = "a coefficient outside of the range";
const BEYOND: &str = "a coefficient beyond its block";

/// The DC coefficient as a difference to the block before. A value that is brighter or darker than any picture is damage.
fn dc(bits: &mut Bits, table: Option<&Table>, low: u8, (before, steps): (&mut i32, &[u16; 64])) -> Result<(), &'static str> {
    let size = bits.symbol(table.ok_or(NO_TABLE)?)?;
    if size > 11 {
        return Err("an impossible difference of brightness");
    }
    *before += bits.value(size as u32)?;
    if outside(*before << low, steps[0]) {
        return Err("a brightness outside of the range");
    }
    Ok(())
}

pub fn sequential(bits: &mut Bits, tables: Tables, before: (&mut i32, &[u16; 64])) -> Result<(), &'static str> {
    let steps = before.1;
    dc(bits, tables.0, 0, before)?;
    let table = tables.1.ok_or(NO_TABLE)?;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = ((symbol >> 4) as usize, (symbol & 15) as u32);
        if size == 0 && zeros < 15 {
            break;
        }
        k += zeros;
        if k > 63 {
            return Err(BEYOND);
        }
        if outside((1 << size) >> 1, steps[k]) {
            return Err(OUTSIDE);
        }
        bits.skip(size)?;
        k += 1;
    }
    Ok(())
}

pub fn progressive(
    bits: &mut Bits,
    tables: Tables,
    scan: &Scan,
    nonzero: &mut u64,
    run: &mut u32,
    before: (&mut i32, &[u16; 64]),
) -> Result<(), &'static str> {
    match (scan.first, scan.high) {
        (0, 0) => dc(bits, tables.0, scan.low, before),
        (0, _) => bits.skip(1),
        (_, 0) => band(bits, tables.1.ok_or(NO_TABLE)?, scan, nonzero, run, before.1),
        _ => refine(bits, tables.1.ok_or(NO_TABLE)?, scan, nonzero, run),
    }
}

/// The first pass over a band of coefficients.
fn band(
    bits: &mut Bits,
    table: &Table,
    scan: &Scan,
    nonzero: &mut u64,
    run: &mut u32,
    steps: &[u16; 64],
) -> Result<(), &'static str> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = scan.first;
    while k <= scan.last {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = ((symbol >> 4) as usize, (symbol & 15) as u32);
        if size == 0 && zeros < 15 {
            *run = (1 << zeros) + bits.take(zeros as u32)? - 1;
            return Ok(());
        }
        k += zeros;
        if k > scan.last {
            return Err(BEYOND);
        }
        if outside(((1 << size) >> 1) << scan.low, steps[k]) {
            return Err(OUTSIDE);
        }
        bits.skip(size)?;
        if size > 0 {
            *nonzero |= 1 << k;
        }
        k += 1;
    }
    Ok(())
}

/// A further bit of a band: one for each coefficient that is not zero yet met, and the places of new ones.
fn refine(bits: &mut Bits, table: &Table, scan: &Scan, nonzero: &mut u64, run: &mut u32) -> Result<(), &'static str> {
    let mut k = scan.first;
    while *run == 0 && k <= scan.last {
        let symbol = bits.symbol(table)?;
        let (mut zeros, size) = (symbol >> 4, symbol & 15);
        match size {
            0 if zeros < 15 => {
                *run = (1 << zeros) + bits.take(zeros as u32)?;
                break;
            }
            0 => {}
            1 => bits.skip(1)?, // the sign
            _ => return Err("a refinement by more than one bit"),
        }
        while k <= scan.last {
            if *nonzero >> k & 1 == 1 {
                bits.skip(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        if k > scan.last {
            return Err(BEYOND);
        }
        if size == 1 {
            *nonzero |= 1 << k;
        }
        k += 1;
    }
    if *run > 0 {
        let band = (*nonzero >> k.min(63)) & (u64::MAX >> (63 - (scan.last as u32).saturating_sub(k as u32)));
        let more = if k > scan.last { 0 } else { band.count_ones() };
        // A fill holds 57 bits or more.
        bits.skip(more / 2)?;
        bits.skip(more - more / 2)?;
        *run -= 1;
    }
    Ok(())
}
