//! The state of decoding, and what every family of instructions needs: slots for operands, constants, addresses, new micro-ops.

use std::collections::HashMap;

use crate::mem::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, function_address};
use crate::op::{Bank, Code, Extra, Mem, Num, Op, SINK};
use crate::program::{Func, OpSite, Preset, Program, RESERVED, Special};
use crate::source::{Function, Instr, Operand, RegType, Source, Space, Var, type_size};

pub(crate) struct Decoder<'a> {
    pub source: &'a Source,
    pub program: Program,
    /// Functions by index in the source: their number in the program.
    pub numbers: HashMap<u32, u32>,
    /// The same in the order of the numbers: functions to decode.
    pub queue: Vec<u32>,
    /// Calls through registers: index of the [`Extra`], and the functions that each may enter.
    pub indirect: Vec<(u16, Vec<u32>)>,
    pub shared: HashMap<String, u32>,
    // The fields below belong to the function that is being decoded.
    pub f: &'a Function,
    pub slots: Vec<(Bank, u16)>,
    pub next: [u32; 3],
    pub presets: HashMap<(Bank, Preset), u16>,
    pub func: Func,
    pub guard: (u16, u32),
    pub starts: Vec<u32>,
    pub fixups: Vec<(usize, u32)>,
    pub local_at: Vec<u32>,
    pub param_at: Vec<u32>,
    pub ret_at: Vec<u32>,
    pub formal_at: Vec<u32>,
    /// Where arguments and results that lie in registers pass through parameter memory.
    pub passing: u32,
    /// Jumps by tables: indices of [`Extra`]s whose labels are to become ops.
    pub jumps: Vec<u16>,
    /// Bytes that an immediate of this instruction has; 8- and 16-bit registers stay zero-extended.
    pub width: u32,
    /// Whether a source register may be wider than the type.
    pub wider: bool,
    pub site: OpSite,
}

pub(super) type Done = Result<(), String>;

impl<'a> Decoder<'a> {
    /// A new op with the guard of the instruction; the caller fills in its operands.
    pub fn emit(&mut self, code: Code) -> &mut Op {
        self.program.sites.push(self.site);
        self.site.first = false;
        let (pred, neg) = self.guard;
        self.program.ops.push(Op { code, pred, neg, d: 0, a: 0, b: 0, c: 0, x: 0, imm: 0 });
        self.program.ops.last_mut().expect("just pushed")
    }

    /// Keeps what does not fit into an op; its index goes into `x`.
    pub fn extra(&mut self, e: Extra) -> Result<u16, String> {
        self.program.extras.push(e);
        u16::try_from(self.program.extras.len() - 1)
            .map_err(|_| "more than 65536 matrix or atomic instructions in a kernel".into())
    }

    /// The number of a function in the program; the first call for a function has it decoded.
    pub fn number(&mut self, function: u32) -> u32 {
        let queue = &mut self.queue;
        *self.numbers.entry(function).or_insert_with(|| {
            queue.push(function);
            queue.len() as u32 - 1
        })
    }

    /// A new register.
    pub fn temp(&mut self, bank: Bank) -> u16 {
        self.next[bank as usize] += 1;
        (self.next[bank as usize] - 1) as u16
    }

    /// A register that holds `p` from the beginning of a call; one for all uses of `p`.
    pub fn preset(&mut self, bank: Bank, p: Preset) -> u16 {
        if let Some(&slot) = self.presets.get(&(bank, p)) {
            return slot;
        }
        let slot = self.temp(bank);
        self.presets.insert((bank, p), slot);
        slot
    }

    /// A register that holds a constant.
    pub fn constant(&mut self, bank: Bank, bits: u64) -> u16 {
        self.preset(bank, Preset::Bits(if bank == Bank::W { bits as u32 as u64 } else { bits }))
    }

    /// The offset of a shared variable; the first call for a variable gives it a place. None for dynamic shared memory.
    pub fn shared_offset(&mut self, v: &Var) -> Option<u32> {
        if v.external && v.size == 0 {
            return None;
        }
        Some(self.place_shared(&v.name, v.align, v.size))
    }

    /// The offset of a piece of shared memory; the first call for a name gives it a place.
    fn place_shared(&mut self, name: &str, align: u32, size: u32) -> u32 {
        if let Some(&at) = self.shared.get(name) {
            return at;
        }
        // More than fits into 32 bits is more than any launch allows.
        let at = self.program.shared.checked_next_multiple_of(align.max(1)).unwrap_or(u32::MAX);
        self.program.shared = at.saturating_add(size);
        self.shared.insert(name.to_string(), at);
        self.program.shared_vars.push((name.to_string(), at, size));
        at
    }

    /// The part of shared memory that is reserved for the system: cooperative groups keep the barriers of their tiles there, from
    /// the second of its halves on.
    fn reserved_shared(&mut self, which: &str) -> Result<u32, String> {
        const BYTES: u32 = 1024;
        let at = self.place_shared(RESERVED, 16, BYTES);
        Ok(match which {
            "begin" | "0" => at,
            "1" => at + BYTES / 2,
            "end" => at + BYTES,
            "cap" => BYTES,
            _ => return Err(format!("special register `%reserved_smem_offset_{which}` is not supported")),
        })
    }

    /// The address of a variable, as a slot.
    pub fn symbol(&mut self, o: &Operand, plus: i64, bank: Bank) -> Result<u16, String> {
        let preset = match o {
            Operand::Local(i) => {
                let v = &self.f.vars[*i as usize];
                match v.space {
                    Space::Local => Preset::Local(self.local_at[*i as usize] as i64 + plus),
                    Space::Shared => self.shared_preset(v, plus),
                    _ => return Err(format!("the address of `{}` in parameter memory is not supported", v.name)),
                }
            }
            Operand::Formal(false, i) if self.f.entry => {
                Preset::Bits((PARAM_WINDOW as i64 + self.formal_at[*i as usize] as i64 + plus) as u64)
            }
            Operand::Formal(..) => return Err("the address of a function's parameter is not supported".into()),
            Operand::Global(i) => self.module_variable(*i, plus)?,
            Operand::Name(name) => match (self.source.var(name), self.source.function(name)) {
                (Some(i), _) => self.module_variable(i, plus)?,
                (_, Some(f)) => Preset::Bits(function_address(f).wrapping_add_signed(plus)),
                _ => {
                    return Err(match self.source.unread_about(name) {
                        Some(r) => {
                            format!("`{name}` stands in line {}, which is not understood: {}\n    {}", r.line, r.why, r.text)
                        }
                        None => format!("`{name}` is not a register, variable or known special register"),
                    });
                }
            },
            // An element at a constant index.
            Operand::Element(base, None, index, size) => {
                return self.symbol(base, plus.wrapping_add(index.wrapping_mul(*size as i64)), bank);
            }
            _ => return Err("expected a variable".into()),
        };
        Ok(self.preset(bank, preset))
    }

    /// The address of a variable of the module.
    fn module_variable(&mut self, i: u32, plus: i64) -> Result<Preset, String> {
        let v = &self.source.vars[i as usize];
        if let Some(r) = &v.refused {
            return Err(format!("variable `{}`, line {}: {}", v.name, r.line, r.why));
        }
        if v.space == Space::Shared {
            return Ok(self.shared_preset(v, plus));
        }
        if v.external {
            return Err(format!("variable `{}` is declared `.extern`, and this text defines it nowhere", v.name));
        }
        if !self.program.globals.contains(&i) {
            self.program.globals.push(i);
        }
        Ok(Preset::Symbol(i, plus))
    }

    /// The byte offset of an element at an index in a register, added to the address of its array.
    fn element(&mut self, o: &Operand, window: i64) -> Result<u16, String> {
        let Operand::Element(base, Some(register), plus, size) = o else { return self.symbol(o, window, Bank::L) };
        let array = self.symbol(base, window, Bank::L)?;
        let mut index =
            self.src(&Operand::Reg(*register), Bank::W).map_err(|_| "an index must be a 32-bit register".to_string())?;
        if *plus != 0 {
            let (t, k) = (self.temp(Bank::W), self.constant(Bank::W, *plus as u64));
            self.put(Code::Add32, t, [index, k, 0]);
            index = t;
        }
        // In 32 bits, as ptxas computes it.
        let (scaled, wide, sum) = (self.temp(Bank::W), self.temp(Bank::L), self.temp(Bank::L));
        let k = self.constant(Bank::W, *size as u64);
        self.put(Code::MulLo32, scaled, [index, k, 0]);
        self.put(Code::CvtU64U32, wide, [scaled, 0, 0]);
        self.put(Code::Add64, sum, [array, wide, 0]);
        Ok(sum)
    }

    pub fn shared_preset(&mut self, v: &Var, plus: i64) -> Preset {
        match self.shared_offset(v) {
            Some(at) => Preset::Bits((at as i64 + plus) as u64),
            None => Preset::DynamicShared(plus),
        }
    }

    /// A source operand in a slot of the given bank.
    pub fn src(&mut self, o: &Operand, bank: Bank) -> Result<u16, String> {
        Ok(match o {
            Operand::Reg(r) => {
                let (found, slot) = self.slots[*r as usize];
                if found != bank {
                    // Converting and storing instructions may take a wider register than their type.
                    if self.wider && (found, bank) == (Bank::L, Bank::W) {
                        let t = self.temp(Bank::W);
                        let op = self.emit(Code::Cvt32L);
                        (op.d, op.a) = (t, slot);
                        return Ok(t);
                    }
                    return Err(format!("register {} has the wrong size", self.f.reg_names[*r as usize]));
                }
                slot
            }
            Operand::Int(i) => {
                let bits = match self.width {
                    1 => *i as u8 as u64,
                    2 => *i as u16 as u64,
                    _ => *i as u64,
                };
                if bank == Bank::P {
                    return Err("expected a predicate".into());
                }
                self.constant(bank, bits)
            }
            // In a 64-bit instruction the bits are the low ones of 64, not a value to be converted: so ptxas takes `0f`.
            Operand::F32(b) => self.constant(bank, *b as u64),
            Operand::F64(b) if bank == Bank::W => self.constant(bank, (f64::from_bits(*b) as f32).to_bits() as u64),
            Operand::F64(b) => self.constant(bank, *b),
            Operand::Name(name) if special(name).is_some() => {
                let s = special(name).expect("just seen");
                self.preset(bank, Preset::Special(s))
            }
            Operand::Name(name) if matches!(name.as_str(), "%clock" | "%clock64" | "%globaltimer" | "%globaltimer_lo") => {
                let t = self.temp(bank);
                let op = self.emit(Code::Clock);
                (op.d, op.x) = (t, (bank == Bank::L) as u16);
                t
            }
            Operand::Name(name) if matches!(name.as_str(), "%clock_hi" | "%globaltimer_hi") && bank == Bank::W => {
                let t = self.temp(bank);
                let op = self.emit(Code::Clock);
                (op.d, op.x) = (t, 2);
                t
            }
            Operand::Name(name) if name.starts_with("%reserved_smem_offset_") => {
                let at = self.reserved_shared(&name["%reserved_smem_offset_".len()..])?;
                self.constant(bank, at as u64)
            }
            Operand::Name(name) if without_cluster(name).is_some() => {
                let value = without_cluster(name).expect("just seen");
                self.constant(bank, value)
            }
            Operand::Name(name) if name.starts_with('%') => return Err(format!("special register `{name}` is not supported")),
            Operand::Name(_) | Operand::Local(_) | Operand::Global(_) | Operand::Formal(..) => self.symbol(o, 0, bank)?,
            Operand::Element(_, None, ..) => self.symbol(o, 0, bank)?,
            Operand::Element(..) => {
                let wide = self.element(o, 0)?;
                if bank == Bank::L {
                    return Ok(wide);
                }
                let t = self.temp(Bank::W);
                self.put(Code::Cvt32L, t, [wide, 0, 0]);
                t
            }
            Operand::Pair(base, plus) => match **plus {
                Operand::Int(plus) => self.symbol(base, plus, bank)?,
                _ => return Err("unexpected `|`".into()),
            },
            _ => return Err(format!("operand {o:?} does not fit here")),
        })
    }

    /// A destination register.
    pub fn dst(&mut self, o: &Operand, bank: Bank) -> Result<u16, String> {
        match o {
            Operand::Reg(r) if self.slots[*r as usize].0 == bank => Ok(self.slots[*r as usize].1),
            Operand::Reg(r) => Err(format!("register {} has the wrong size for a result", self.f.reg_names[*r as usize])),
            Operand::Sink => Ok(self.temp(bank)),
            _ => Err("the result must be a register".into()),
        }
    }

    /// The bank of a register operand.
    pub fn bank(&self, o: &Operand) -> Option<Bank> {
        match o {
            Operand::Reg(r) => Some(self.slots[*r as usize].0),
            _ => None,
        }
    }

    /// Whether an operand is a 16-bit register.
    pub fn is_half(&self, o: &Operand) -> bool {
        matches!(o, Operand::Reg(r) if self.f.regs[*r as usize] == RegType::B16)
    }

    /// A predicate as a source: a register, a negated one, or a constant.
    pub fn pred(&mut self, o: &Operand) -> Result<u16, String> {
        match o {
            Operand::NotReg(r) if self.slots[*r as usize].0 == Bank::P => {
                let (slot, t) = (self.slots[*r as usize].1, self.temp(Bank::P));
                let op = self.emit(Code::PredNot);
                (op.d, op.a) = (t, slot);
                Ok(t)
            }
            Operand::Reg(_) => self.src(o, Bank::P),
            // A constant: predicate 0, which is true, or its exclusive or with itself, which is false.
            Operand::Int(i) => {
                let t = self.temp(Bank::P);
                let op = self.emit(if *i != 0 { Code::PredMov } else { Code::PredXor });
                (op.d, op.a, op.b) = (t, 0, 0);
                Ok(t)
            }
            Operand::Name(name) if name == "%is_explicit_cluster" => self.pred(&Operand::Int(0)),
            _ => Err("expected a predicate".into()),
        }
    }

    /// An arithmetic instruction whose operands follow from its code.
    pub fn alu(&mut self, code: Code, i: &Instr) -> Done {
        let shape = code.shape().expect("the table names arithmetic codes only");
        self.shaped(code, shape.d, shape.s, i, 0)
    }

    /// An arithmetic instruction that a function of lane arrays computes.
    pub fn num(&mut self, num: Num, i: &Instr) -> Done {
        let shape = num.shape();
        self.program.nums.push(num);
        self.shaped(Code::Num, shape.d, shape.s, i, self.program.nums.len() as i32 - 1)
    }

    /// An op whose sources have the banks `s`, from the operands of the instruction.
    pub fn shaped(&mut self, code: Code, d: Bank, s: &[Bank], i: &Instr, imm: i32) -> Done {
        arity(i, s.len() + 1)?;
        let mut slots = [0; 3];
        for (k, &bank) in s.iter().enumerate() {
            // The addend of a wide product and the count of a shift have 32 bits, whatever the type.
            let full =
                matches!((code, k), (Code::MadWideS16 | Code::MadWideU16, 2) | (Code::Shl16 | Code::ShrU16 | Code::ShrS16, 1));
            if full {
                self.width = 4;
            }
            slots[k] = self.src(&i.operands[k + 1], bank)?;
        }
        let dst = self.dst(&i.operands[0], d)?;
        let op = self.emit(code);
        (op.d, op.a, op.b, op.c, op.imm) = (dst, slots[0], slots[1], slots[2], imm);
        Ok(())
    }

    /// An op on slots.
    pub fn put(&mut self, code: Code, d: u16, s: [u16; 3]) {
        let op = self.emit(code);
        (op.d, op.a, op.b, op.c) = (d, s[0], s[1], s[2]);
    }

    /// An op that applies a function of lane arrays to slots.
    pub fn put_num(&mut self, num: Num, d: u16, s: [u16; 3]) {
        self.program.nums.push(num);
        let imm = self.program.nums.len() as i32 - 1;
        self.put(Code::Num, d, s);
        self.program.ops.last_mut().expect("just put").imm = imm;
    }

    /// The address operand: slot, whether it is 64 bits wide, offset.
    pub fn address(&mut self, o: &Operand, space: Option<Space>) -> Result<(u16, bool, i32), String> {
        let (base, plus) = match o {
            Operand::Address(base, plus) => (&**base, *plus),
            Operand::Element(..) => (o, 0),
            _ => return Err("expected an address".into()),
        };
        let offset = i32::try_from(plus).map_err(|_| format!("offset {plus} is out of range"))?;
        match base {
            Operand::Reg(r) => match self.slots[*r as usize] {
                (Bank::L, slot) => Ok((slot, true, offset)),
                (Bank::W, slot) if matches!(space, Some(Space::Shared | Space::Local | Space::Const)) => {
                    Ok((slot, false, offset))
                }
                _ => Err("the address register has the wrong size".into()),
            },
            Operand::Int(i) => Ok((self.constant(Bank::L, *i as u64), true, offset)),
            name => {
                // Without a space the symbol's address is generic.
                let variable = match name {
                    Operand::Element(base, ..) => base,
                    other => other,
                };
                let window = match (space, variable) {
                    (None, Operand::Local(v)) => match self.f.vars[*v as usize].space {
                        Space::Shared => SHARED_WINDOW as i64,
                        _ => LOCAL_WINDOW as i64,
                    },
                    (None, Operand::Name(n)) => match self.source.var(n) {
                        Some(v) if self.source.vars[v as usize].space == Space::Shared => SHARED_WINDOW as i64,
                        _ => 0,
                    },
                    _ => 0,
                };
                Ok((self.element(name, window)?, true, offset))
            }
        }
    }

    /// The registers that a load or store moves.
    pub fn mem(&mut self, o: &Operand, mods: &[&str], load: bool) -> Result<Mem, String> {
        let ty = format!(".{}", mods.last().expect("every form has a type"));
        let bytes = type_size(&ty).expect("the form lists types only");
        let list = match o {
            Operand::Vector(v) => v.as_slice(),
            one => std::slice::from_ref(one),
        };
        let count = if mods.contains(&"v2") {
            2
        } else if mods.contains(&"v4") {
            4
        } else {
            1
        };
        if list.len() != count {
            return Err(format!("expected {count} registers, found {}", list.len()));
        }
        if count as u32 * bytes > 16 {
            return Err("vectors of more than 16 bytes are not supported".into());
        }
        let wide = list.iter().find_map(|o| self.bank(o)).map_or(bytes == 8, |b| b == Bank::L);
        let bank = if wide { Bank::L } else { Bank::W };
        if bytes == 8 && !wide {
            return Err("a 64-bit value needs a 64-bit register".into());
        }
        let mut regs = [SINK; 4];
        for (slot, o) in regs.iter_mut().zip(list) {
            *slot = match o {
                Operand::Sink if load => SINK,
                Operand::Sink => return Err("a store has no `_`".into()),
                _ if load => self.dst(o, bank)?,
                _ => self.src(o, bank)?,
            };
        }
        let half = list.iter().any(|o| self.is_half(o));
        let signed = ty.starts_with(".s");
        Ok(Mem { bytes: bytes as u8, count: count as u8, signed, wide, half, address64: true, regs })
    }

    /// An op that moves `mem` to or from an address.
    pub fn put_mem(&mut self, code: Code, mut mem: Mem, (a, wide, offset): (u16, bool, i32)) -> Done {
        mem.address64 = wide;
        self.program.mems.push(mem);
        let c = u16::try_from(self.program.mems.len() - 1).map_err(|_| "more than 65535 memory instructions in one kernel")?;
        let op = self.emit(code);
        (op.a, op.c, op.imm) = (a, c, offset);
        Ok(())
    }

    /// Offset of a name in the frame's parameter memory.
    pub fn param_offset(&self, base: &Operand) -> Result<u32, String> {
        match base {
            Operand::Local(i) if self.f.vars[*i as usize].space == Space::Param => Ok(self.param_at[*i as usize]),
            Operand::Formal(false, i) => Ok(self.formal_at[*i as usize]),
            Operand::Formal(true, i) => Ok(self.ret_at[*i as usize]),
            _ => Err("expected a parameter".into()),
        }
    }

    /// Bytes of a parameter.
    pub fn param_size(&self, base: &Operand) -> u32 {
        match base {
            Operand::Local(i) => self.f.vars[*i as usize].size,
            Operand::Formal(false, i) => self.f.params[*i as usize].size,
            Operand::Formal(true, i) => self.f.rets[*i as usize].size,
            _ => 0,
        }
    }
}

fn special(name: &str) -> Option<Special> {
    let axis = |s: &str| match s {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    if let Some((base, a)) = name.split_once('.') {
        let a = axis(a)?;
        return Some(match base {
            "%tid" => Special::Tid(a),
            "%ntid" => Special::Ntid(a),
            "%ctaid" => Special::Ctaid(a),
            "%nctaid" => Special::Nctaid(a),
            "%clusterid" => Special::Ctaid(a),
            "%nclusterid" => Special::Nctaid(a),
            _ => return None,
        });
    }
    Some(match name {
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NWarpId,
        "WARP_SZ" => Special::WarpSize,
        "%smid" => Special::SmId,
        "%nsmid" => Special::NSmId,
        "%gridid" => Special::GridId,
        "%lanemask_eq" => Special::LaneMask(0),
        "%lanemask_lt" => Special::LaneMask(1),
        "%lanemask_le" => Special::LaneMask(2),
        "%lanemask_gt" => Special::LaneMask(3),
        "%lanemask_ge" => Special::LaneMask(4),
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" | "%aggr_smem_size" => Special::TotalShared,
        "%envreg1" => Special::Workspace(1),
        "%envreg2" => Special::Workspace(2),
        _ => return None,
    })
}

/// Special registers that are constants: of clusters, of which each block is one, and of what is not there (the driver's other
/// registers, performance counters, graphs).
fn without_cluster(name: &str) -> Option<u64> {
    let number = |rest: &str| rest.bytes().all(|c| c.is_ascii_digit());
    if name.strip_prefix("%envreg").is_some_and(number)
        || name.strip_prefix("%pm").is_some_and(|r| number(r) || r.strip_suffix("_64").is_some_and(number))
    {
        return Some(0);
    }
    if let Some((base, "x" | "y" | "z")) = name.split_once('.') {
        return match base {
            "%cluster_ctaid" => Some(0),
            "%cluster_nctaid" => Some(1),
            _ => None,
        };
    }
    match name {
        "%cluster_ctarank" | "%current_graph_exec" => Some(0),
        "%cluster_nctarank" => Some(1),
        _ => None,
    }
}

/// An error unless the instruction has `n` operands.
pub(super) fn arity(i: &Instr, n: usize) -> Done {
    if i.operands.len() == n { Ok(()) } else { Err(format!("expected {n} operands, found {}", i.operands.len())) }
}

/// An error unless the instruction has `least` to `most` operands.
pub(super) fn between(i: &Instr, least: usize, most: usize) -> Done {
    if (least..=most).contains(&i.operands.len()) {
        Ok(())
    } else {
        Err(format!("expected {least} to {most} operands, found {}", i.operands.len()))
    }
}

/// The bank of registers that hold a type.
pub(super) fn type_bank(ty: &str) -> Bank {
    if type_size(&format!(".{ty}")) == Some(8) { Bank::L } else { Bank::W }
}
