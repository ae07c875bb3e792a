//! From the syntax tree to micro-ops: register slots, constants, shared memory layout, jump targets; one function per family of
//! instructions, named in the table of [`super::isa`].

use std::collections::HashMap;

use super::isa::{self, How};
use super::num::mma::{Element, Mma, Tensor};
use super::op::{Atom, AtomOp, AtomType, Bank, Call, Code, Extra, MatrixOp, Mem, Num, Op, SINK};
use super::source::{Function, Instr, Operand, RegType, Source, Space, type_size};
use super::{Error, numeric};

pub(super) mod wmma;

/// An entry with everything it can reach, ready to run.
pub(crate) struct Program {
    pub ops: Vec<Op>,
    /// For each op, how many from it on are plain arithmetic: the run loop takes them in one stretch.
    pub plain: Vec<u16>,
    /// For each op, how many from it on have its code and its guard: they are dispatched once. Only where none writes a guard.
    pub alike: Vec<u16>,
    /// Where each op comes from.
    pub sites: Vec<OpSite>,
    pub functions: Vec<Func>,
    pub mems: Vec<Mem>,
    pub extras: Vec<Extra>,
    pub nums: Vec<Num>,
    /// Static shared memory: bytes, and the variables in it for reports.
    pub shared: u32,
    pub shared_vars: Vec<(String, u32, u32)>,
    /// Module variables that the program names (indices into [`Source::vars`]).
    pub globals: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OpSite {
    pub function: u32,
    pub instr: u32,
    /// The first op of its instruction: counting these counts instructions.
    pub first: bool,
}

pub(crate) struct Func {
    /// Index into [`Source::functions`].
    pub source: u32,
    pub start: u32,
    pub banks: [u16; 3],
    pub presets: Vec<(Bank, u16, Preset)>,
    /// Bytes of `.local` variables.
    pub local: u32,
    /// Bytes of parameter memory per thread: formals, return values and call parameters.
    pub params: u32,
    /// Registers that may be read before they are written.
    pub uninitialised: Vec<(Bank, u16)>,
}

/// What a slot holds when a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Preset {
    Bits(u64),
    Special(Special),
    KernelParam {
        at: u32,
        bytes: u8,
        signed: bool,
    },
    /// Address of a module variable, plus an offset.
    Symbol(u32, i64),
    /// Where dynamic shared memory begins.
    DynamicShared(i64),
    /// Address of a local variable in this frame, plus an offset.
    Local(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    WarpSize,
    SmId,
    NSmId,
    GridId,
    /// Lanes equal, less, less or equal, greater, greater or equal.
    LaneMask(u8),
    DynamicShared,
    TotalShared,
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
        "%total_smem_size" => Special::TotalShared,
        _ => return None,
    })
}

/// Offsets of parameters, one behind the other, each aligned.
pub(crate) fn layout(vars: &[super::source::Var], mut at: u32) -> (Vec<u32>, u32) {
    let mut offsets = Vec::new();
    for v in vars {
        at = at.next_multiple_of(v.align.max(1));
        offsets.push(at);
        at += v.size;
    }
    (offsets, at)
}

pub(crate) struct Decoder<'a> {
    source: &'a Source,
    pub program: Program,
    /// Functions by index in the source: their number in the program.
    numbers: HashMap<u32, u32>,
    shared: HashMap<String, u32>,
    // Of the function at hand:
    f: &'a Function,
    slots: Vec<(Bank, u16)>,
    next: [u32; 3],
    presets: HashMap<(Bank, Preset), u16>,
    func: Func,
    guard: (u16, u32),
    starts: Vec<u32>,
    fixups: Vec<(usize, u32)>,
    local_at: Vec<u32>,
    param_at: Vec<u32>,
    ret_at: Vec<u32>,
    formal_at: Vec<u32>,
    /// Bytes that an immediate of this instruction has; 8- and 16-bit registers stay zero-extended.
    width: u32,
    /// Whether a source register may be wider than the type.
    wider: bool,
    site: OpSite,
}

type Done = Result<(), String>;

/// Decodes an entry and all functions it calls.
pub(crate) fn program(source: &Source, module: &str, entry: usize) -> Result<Program, Error> {
    let program = Program {
        ops: Vec::new(),
        plain: Vec::new(),
        alike: Vec::new(),
        sites: Vec::new(),
        functions: Vec::new(),
        mems: Vec::new(),
        extras: Vec::new(),
        nums: Vec::new(),
        shared: 0,
        shared_vars: Vec::new(),
        globals: Vec::new(),
    };
    let site = OpSite { function: 0, instr: 0, first: true };
    let f = &source.functions[entry];
    let mut d = Decoder {
        source,
        program,
        numbers: HashMap::from([(entry as u32, 0)]),
        shared: HashMap::new(),
        f,
        slots: Vec::new(),
        next: [0; 3],
        presets: HashMap::new(),
        func: empty(entry as u32),
        guard: (0, 0),
        starts: Vec::new(),
        fixups: Vec::new(),
        local_at: Vec::new(),
        param_at: Vec::new(),
        ret_at: Vec::new(),
        formal_at: Vec::new(),
        width: 4,
        wider: false,
        site,
    };
    let mut queue = vec![entry as u32];
    let mut done = 0;
    while done < queue.len() {
        d.function(queue[done], module, &f.name)?;
        done += 1;
        // Calls have numbered new functions.
        let mut found: Vec<(u32, u32)> = d.numbers.iter().map(|(&s, &n)| (n, s)).collect();
        found.sort_unstable();
        queue = found.into_iter().map(|(_, s)| s).collect();
    }
    let Program { ops, plain, alike, .. } = &mut d.program;
    (*plain, *alike) = (vec![0; ops.len()], vec![1; ops.len()]);
    for i in (0..ops.len()).rev() {
        let next = i + 1;
        let of_next = |t: &[u16]| t.get(next).map_or(0, |n| n.saturating_add(1));
        if ops[i].code.plain() {
            plain[i] = of_next(plain).max(1);
        }
        let same = |a: &Op, b: &Op| (a.code, a.pred, a.neg) == (b.code, b.pred, b.neg);
        if ops[i].code.hot() && ops.get(next).is_some_and(|o| same(o, &ops[i])) {
            alike[i] = of_next(alike);
        }
    }
    Ok(d.program)
}

fn empty(source: u32) -> Func {
    Func { source, start: 0, banks: [0; 3], presets: Vec::new(), local: 0, params: 0, uninitialised: Vec::new() }
}

impl<'a> Decoder<'a> {
    fn function(&mut self, source: u32, module: &str, kernel: &str) -> Result<(), Error> {
        let f = &self.source.functions[source as usize];
        let error = |line: u32, why: String| Error { module: module.into(), line, kernel: kernel.into(), why };
        self.f = f;
        self.func = empty(source);
        self.func.start = self.program.ops.len() as u32;
        // Predicate 0 is always true.
        self.next = [0, 0, 1];
        self.slots.clear();
        for r in &f.regs {
            let bank = match r {
                RegType::Pred => Bank::P,
                RegType::B64 => Bank::L,
                _ => Bank::W,
            };
            self.slots.push((bank, self.next[bank as usize] as u16));
            self.next[bank as usize] += 1;
        }
        let named = self.next.map(|n| n as u16);
        self.presets.clear();
        self.starts.clear();
        self.fixups.clear();
        // Local variables share one depot, parameters one area: formals, returns, then those of calls.
        self.local_at = vec![0; f.vars.len()];
        self.param_at = vec![0; f.vars.len()];
        let (formal_at, mut params) = layout(&f.params, 0);
        self.formal_at = formal_at;
        let (ret_at, end) = layout(&f.rets, params);
        (self.ret_at, params) = (ret_at, end);
        let mut local = 0u32;
        for (i, v) in f.vars.iter().enumerate() {
            let (at, list) = match v.space {
                Space::Local => (&mut local, &mut self.local_at),
                Space::Param => (&mut params, &mut self.param_at),
                _ => continue,
            };
            *at = at.next_multiple_of(v.align.max(1));
            list[i] = *at;
            *at += v.size;
        }
        (self.func.local, self.func.params) = (local, params);

        for (i, instr) in f.body.iter().enumerate() {
            self.starts.push(self.program.ops.len() as u32);
            self.site = OpSite { function: self.program.functions.len() as u32, instr: i as u32, first: true };
            self.guard = match instr.guard {
                Some((r, negated)) => (self.slots[r as usize].1, if negated { !0 } else { 0 }),
                None => (0, 0),
            };
            self.instruction(instr).map_err(|why| error(instr.line, format!("{why}\n    {}", instr.text)))?;
            if self.next.iter().any(|&n| n >= SINK as u32) {
                return Err(error(instr.line, format!("`{}` uses more than 65535 registers", f.name)));
            }
        }
        // Running off the end returns.
        self.site.first = false;
        self.guard = (0, 0);
        self.starts.push(self.program.ops.len() as u32);
        self.emit(if f.entry { Code::Exit } else { Code::Ret });
        for &(op, label) in &self.fixups {
            self.program.ops[op].imm = self.starts[label as usize] as i32;
        }
        self.func.banks = self.next.map(|n| n as u16);
        let mut presets: Vec<_> = self.presets.iter().map(|(&(bank, p), &slot)| (bank, slot, p)).collect();
        presets.sort_by_key(|&(bank, slot, _)| (bank as u8, slot));
        self.func.presets = presets;
        let mut func = std::mem::replace(&mut self.func, empty(0));
        let end = self.program.ops.len();
        super::flow::allocate(&mut self.program, &mut func, named, end);
        self.program.functions.push(func);
        Ok(())
    }

    fn instruction(&mut self, i: &Instr) -> Done {
        let Some(row) = isa::find(&i.opcode) else {
            let mnemonic = i.opcode.split('.').next().unwrap_or("");
            return Err(if isa::knows(mnemonic) {
                format!("`{}`: this form of `{mnemonic}` is not supported", i.opcode)
            } else {
                format!("instruction `{}` is not supported", i.opcode)
            });
        };
        let mods: Vec<&str> = i.opcode.split('.').skip(1).collect();
        self.width = mods.last().and_then(|m| type_size(&format!(".{m}"))).unwrap_or(4);
        self.wider = matches!(i.opcode.split('.').next(), Some("cvt" | "st"));
        match row.how {
            How::Alu(code) => self.alu(code, i),
            How::With(f) => f(self, i, &mods),
        }
    }

    fn emit(&mut self, code: Code) -> &mut Op {
        self.program.sites.push(self.site);
        self.site.first = false;
        let (pred, neg) = self.guard;
        self.program.ops.push(Op { code, pred, neg, d: 0, a: 0, b: 0, c: 0, x: 0, imm: 0 });
        self.program.ops.last_mut().expect("just pushed")
    }

    /// Keeps what does not fit into an op; its index goes into `x`.
    fn extra(&mut self, e: Extra) -> Result<u16, String> {
        self.program.extras.push(e);
        u16::try_from(self.program.extras.len() - 1)
            .map_err(|_| "more than 65536 matrix or atomic instructions in a kernel".into())
    }

    fn temp(&mut self, bank: Bank) -> u16 {
        self.next[bank as usize] += 1;
        (self.next[bank as usize] - 1) as u16
    }

    fn preset(&mut self, bank: Bank, p: Preset) -> u16 {
        if let Some(&slot) = self.presets.get(&(bank, p)) {
            return slot;
        }
        let slot = self.temp(bank);
        self.presets.insert((bank, p), slot);
        slot
    }

    fn constant(&mut self, bank: Bank, bits: u64) -> u16 {
        self.preset(bank, Preset::Bits(if bank == Bank::W { bits as u32 as u64 } else { bits }))
    }

    /// The offset of a shared variable, given a place at first sight; None for dynamic shared memory.
    fn shared_offset(&mut self, v: &super::source::Var) -> Option<u32> {
        if v.external && v.size == 0 {
            return None;
        }
        if let Some(&at) = self.shared.get(&v.name) {
            return Some(at);
        }
        let at = self.program.shared.next_multiple_of(v.align.max(1));
        self.program.shared = at + v.size;
        self.shared.insert(v.name.clone(), at);
        self.program.shared_vars.push((v.name.clone(), at, v.size));
        Some(at)
    }

    /// The address of a variable, as a slot.
    fn symbol(&mut self, o: &Operand, plus: i64, bank: Bank) -> Result<u16, String> {
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
                Preset::Bits((super::mem::PARAM_WINDOW as i64 + self.formal_at[*i as usize] as i64 + plus) as u64)
            }
            Operand::Formal(..) => return Err("the address of a function's parameter is not supported".into()),
            Operand::Name(name) => {
                let source = self.source;
                let Some(i) = source.vars.iter().position(|v| v.name == *name) else {
                    return Err(if source.functions.iter().any(|f| f.name == *name) {
                        format!("the address of function `{name}` is not supported")
                    } else {
                        format!("`{name}` is not a register, variable or known special register")
                    });
                };
                match source.vars[i].space {
                    Space::Shared => self.shared_preset(&source.vars[i], plus),
                    _ => {
                        if !self.program.globals.contains(&(i as u32)) {
                            self.program.globals.push(i as u32);
                        }
                        Preset::Symbol(i as u32, plus)
                    }
                }
            }
            _ => return Err("expected a variable".into()),
        };
        Ok(self.preset(bank, preset))
    }

    fn shared_preset(&mut self, v: &super::source::Var, plus: i64) -> Preset {
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
            Operand::F32(b) if bank == Bank::L => self.constant(bank, (f32::from_bits(*b) as f64).to_bits()),
            Operand::F32(b) => self.constant(bank, *b as u64),
            Operand::F64(b) if bank == Bank::W => self.constant(bank, (f64::from_bits(*b) as f32).to_bits() as u64),
            Operand::F64(b) => self.constant(bank, *b),
            Operand::Name(name) if special(name).is_some() => {
                let s = special(name).expect("just seen");
                self.preset(bank, Preset::Special(s))
            }
            Operand::Name(name) if matches!(name.as_str(), "%clock" | "%clock64" | "%globaltimer") => {
                let t = self.temp(bank);
                let op = self.emit(Code::Clock);
                (op.d, op.x) = (t, (bank == Bank::L) as u16);
                t
            }
            Operand::Name(name) if name.starts_with('%') => return Err(format!("special register `{name}` is not supported")),
            Operand::Name(_) | Operand::Local(_) | Operand::Formal(..) => self.symbol(o, 0, bank)?,
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

    fn bank(&self, o: &Operand) -> Option<Bank> {
        match o {
            Operand::Reg(r) => Some(self.slots[*r as usize].0),
            _ => None,
        }
    }

    fn is_half(&self, o: &Operand) -> bool {
        matches!(o, Operand::Reg(r) if self.f.regs[*r as usize] == RegType::B16)
    }

    fn pred(&mut self, o: &Operand) -> Result<u16, String> {
        match o {
            Operand::NotReg(r) if self.slots[*r as usize].0 == Bank::P => {
                let (slot, t) = (self.slots[*r as usize].1, self.temp(Bank::P));
                let op = self.emit(Code::PredNot);
                (op.d, op.a) = (t, slot);
                Ok(t)
            }
            Operand::Reg(_) => self.src(o, Bank::P),
            // A constant: compared against nothing else but itself.
            Operand::Int(i) => {
                let t = self.temp(Bank::P);
                let op = self.emit(if *i != 0 { Code::PredMov } else { Code::PredXor });
                (op.d, op.a, op.b) = (t, 0, 0);
                Ok(t)
            }
            _ => Err("expected a predicate".into()),
        }
    }

    fn alu(&mut self, code: Code, i: &Instr) -> Done {
        let shape = code.shape().expect("the table names arithmetic codes only");
        self.shaped(code, shape.d, shape.s, i, 0)
    }

    fn num(&mut self, num: Num, i: &Instr) -> Done {
        let shape = num.shape();
        self.program.nums.push(num);
        self.shaped(Code::Num, shape.d, shape.s, i, self.program.nums.len() as i32 - 1)
    }

    fn shaped(&mut self, code: Code, d: Bank, s: &[Bank], i: &Instr, imm: i32) -> Done {
        arity(i, s.len() + 1)?;
        let mut slots = [0; 3];
        for (k, &bank) in s.iter().enumerate() {
            slots[k] = self.src(&i.operands[k + 1], bank)?;
        }
        let dst = self.dst(&i.operands[0], d)?;
        let op = self.emit(code);
        (op.d, op.a, op.b, op.c, op.imm) = (dst, slots[0], slots[1], slots[2], imm);
        Ok(())
    }

    /// An op on slots.
    fn put(&mut self, code: Code, d: u16, s: [u16; 3]) {
        let op = self.emit(code);
        (op.d, op.a, op.b, op.c) = (d, s[0], s[1], s[2]);
    }

    fn put_num(&mut self, num: Num, d: u16, s: [u16; 3]) {
        self.program.nums.push(num);
        let imm = self.program.nums.len() as i32 - 1;
        self.put(Code::Num, d, s);
        self.program.ops.last_mut().expect("just put").imm = imm;
    }

    /// The address operand: slot, whether it is 64 bits wide, offset.
    fn address(&mut self, o: &Operand, space: Option<Space>) -> Result<(u16, bool, i32), String> {
        let Operand::Address(base, plus) = o else { return Err("expected an address".into()) };
        let offset = i32::try_from(*plus).map_err(|_| format!("offset {plus} is out of range"))?;
        match &**base {
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
                let window = match (space, name) {
                    (None, Operand::Local(v)) => match self.f.vars[*v as usize].space {
                        Space::Shared => super::mem::SHARED_WINDOW as i64,
                        _ => super::mem::LOCAL_WINDOW as i64,
                    },
                    (None, Operand::Name(n)) => match self.source.vars.iter().find(|v| v.name == *n) {
                        Some(v) if v.space == Space::Shared => super::mem::SHARED_WINDOW as i64,
                        _ => 0,
                    },
                    _ => 0,
                };
                Ok((self.symbol(name, window, Bank::L)?, true, offset))
            }
        }
    }

    /// The registers that a load or store moves.
    fn mem(&mut self, o: &Operand, mods: &[&str], load: bool) -> Result<Mem, String> {
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
                Operand::Sink => SINK,
                _ if load => self.dst(o, bank)?,
                _ => self.src(o, bank)?,
            };
        }
        let half = list.iter().any(|o| self.is_half(o));
        let signed = ty.starts_with(".s");
        Ok(Mem { bytes: bytes as u8, count: count as u8, signed, wide, half, address64: true, regs })
    }

    fn put_mem(&mut self, code: Code, mut mem: Mem, (a, wide, offset): (u16, bool, i32)) -> Done {
        mem.address64 = wide;
        self.program.mems.push(mem);
        let c = u16::try_from(self.program.mems.len() - 1).map_err(|_| "more than 65535 memory instructions in one kernel")?;
        let op = self.emit(code);
        (op.a, op.c, op.imm) = (a, c, offset);
        Ok(())
    }

    /// Offset of a name in the frame's parameter memory.
    fn param_offset(&self, base: &Operand) -> Result<u32, String> {
        match base {
            Operand::Local(i) if self.f.vars[*i as usize].space == Space::Param => Ok(self.param_at[*i as usize]),
            Operand::Formal(false, i) => Ok(self.formal_at[*i as usize]),
            Operand::Formal(true, i) => Ok(self.ret_at[*i as usize]),
            _ => Err("expected a parameter".into()),
        }
    }

    fn param_size(&self, base: &Operand) -> u32 {
        match base {
            Operand::Local(i) => self.f.vars[*i as usize].size,
            Operand::Formal(false, i) => self.f.params[*i as usize].size,
            Operand::Formal(true, i) => self.f.rets[*i as usize].size,
            _ => 0,
        }
    }
}

fn arity(i: &Instr, n: usize) -> Done {
    if i.operands.len() == n { Ok(()) } else { Err(format!("expected {n} operands, found {}", i.operands.len())) }
}

fn between(i: &Instr, least: usize, most: usize) -> Done {
    if (least..=most).contains(&i.operands.len()) {
        Ok(())
    } else {
        Err(format!("expected {least} to {most} operands, found {}", i.operands.len()))
    }
}

fn type_bank(ty: &str) -> Bank {
    if type_size(&format!(".{ty}")) == Some(8) { Bank::L } else { Bank::W }
}

// ---- arithmetic ----

pub(super) fn carry(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    let code = match name {
        "add" | "addc" => Code::AddC,
        "sub" | "subc" => Code::SubC,
        _ if mods[0] == "lo" => Code::MadLoC,
        _ => Code::MadHiC,
    };
    let n = if name.starts_with("mad") { 3 } else { 2 };
    arity(i, n + 1)?;
    let mut s = [0; 3];
    for k in 0..n {
        s[k] = d.src(&i.operands[k + 1], Bank::W)?;
    }
    let dst = d.dst(&i.operands[0], Bank::W)?;
    // The carry flag is one more predicate of the function.
    let flag = d.preset(Bank::P, Preset::Bits(0));
    d.put(code, dst, s);
    let op = d.program.ops.last_mut().expect("just put");
    op.x = name.ends_with('c') as u16 | (mods.contains(&"cc") as u16) << 1 | ((mods.last() == Some(&"s32")) as u16) << 2;
    op.imm = flag as i32;
    Ok(())
}

pub(super) fn pred_logic(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    let code = match i.opcode.as_str() {
        "and.pred" => Code::PredAnd,
        "or.pred" => Code::PredOr,
        "xor.pred" => Code::PredXor,
        _ => Code::PredNot,
    };
    let n = if code == Code::PredNot { 2 } else { 3 };
    arity(i, n)?;
    let a = d.pred(&i.operands[1])?;
    let b = if n == 3 { d.pred(&i.operands[2])? } else { 0 };
    let dst = d.dst(&i.operands[0], Bank::P)?;
    d.put(code, dst, [a, b, 0]);
    Ok(())
}

pub(super) fn bit_field(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let bank = type_bank(mods[0]);
    let insert = i.opcode.starts_with("bfi");
    arity(i, if insert { 5 } else { 4 })?;
    let a = d.src(&i.operands[1], bank)?;
    let b = if insert { d.src(&i.operands[2], bank)? } else { 0 };
    let at = 2 + insert as usize;
    let (pos, len) = (d.src(&i.operands[at], Bank::W)?, d.src(&i.operands[at + 1], Bank::W)?);
    let dst = d.dst(&i.operands[0], bank)?;
    let code = match i.opcode.as_str() {
        "bfi.b32" => Code::Bfi32,
        "bfi.b64" => Code::Bfi64,
        "bfe.u64" => Code::BfeU64,
        _ => Code::BfeS64,
    };
    d.put(code, dst, [a, b, pos]);
    d.program.ops.last_mut().expect("just put").x = len;
    Ok(())
}

pub(super) fn lop3(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 5)?;
    let Operand::Int(table @ 0..=255) = i.operands[4] else {
        return Err("the truth table must be a number from 0 to 255".into());
    };
    let mut s = [0; 3];
    for k in 0..3 {
        s[k] = d.src(&i.operands[k + 1], Bank::W)?;
    }
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::Lop3, dst, s);
    d.program.ops.last_mut().expect("just put").x = table as u16;
    Ok(())
}

pub(super) fn float(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    match numeric::float(name, mods) {
        Some(num) => d.num(num, i),
        None => Err(format!("`{}`: this rounding is not supported", i.opcode)),
    }
}

pub(super) fn half(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    match numeric::half(name, mods) {
        Some(num) => d.num(num, i),
        None => Err(format!("`{}`: this form is not supported", i.opcode)),
    }
}

// ---- comparison and selection ----

/// Relations, in the order of [`Op::x`].
const RELATIONS: [&str; 14] = ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

fn compare(d: &mut Decoder, relation: &str, ty: &str, ftz: bool, a: &Operand, b: &Operand, dst: u16) -> Done {
    let unsigned = matches!(relation, "lo" | "ls" | "hi" | "hs");
    let relation = match relation {
        "lo" => "lt",
        "ls" => "le",
        "hi" => "gt",
        "hs" => "ge",
        r => r,
    };
    let code = match ty {
        "s16" if !unsigned => Code::SetpS16,
        "s32" if !unsigned => Code::SetpS32,
        "s64" if !unsigned => Code::SetpS64,
        "b16" | "u16" | "s16" | "b32" | "u32" | "s32" => Code::SetpU32,
        "b64" | "u64" | "s64" => Code::SetpU64,
        "f32" => Code::SetpF,
        "f64" => Code::SetpD,
        "f16" => Code::SetpH,
        "bf16" => Code::SetpBf,
        _ => return Err(format!("comparison of {ty} is not supported")),
    };
    let bank = type_bank(ty);
    let (mut a, mut b) = (d.src(a, bank)?, d.src(b, bank)?);
    if ftz && ty == "f32" {
        for s in [&mut a, &mut b] {
            let t = d.temp(Bank::W);
            d.put(Code::FtzF, t, [*s, 0, 0]);
            *s = t;
        }
    }
    d.put(code, dst, [a, b, 0]);
    d.program.ops.last_mut().expect("just put").x = RELATIONS.iter().position(|r| *r == relation).expect("a relation") as u16;
    Ok(())
}

pub(super) fn setp(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (relation, ty) = (mods[0], mods[mods.len() - 1]);
    let logic = mods.iter().find(|m| matches!(**m, "and" | "or" | "xor"));
    let ftz = mods.contains(&"ftz");
    arity(i, 3 + logic.is_some() as usize)?;
    let (p, q) = match &i.operands[0] {
        Operand::Pair(p, q) => (d.dst(p, Bank::P)?, Some(d.dst(q, Bank::P)?)),
        o => (d.dst(o, Bank::P)?, None),
    };
    if q.is_none() && logic.is_none() {
        return compare(d, relation, ty, ftz, &i.operands[1], &i.operands[2], p);
    }
    // Everything goes through temporaries, since a result may be the guard or the third operand.
    let other = if logic.is_some() { Some(d.pred(&i.operands[3])?) } else { None };
    let (guard, all) = (d.guard, d.temp(Bank::P));
    d.guard = (0, 0);
    let keep = d.temp(Bank::P);
    d.put(if guard.1 == 0 { Code::PredMov } else { Code::PredNot }, keep, [guard.0, 0, 0]);
    d.guard = (keep, 0);
    compare(d, relation, ty, ftz, &i.operands[1], &i.operands[2], all)?;
    let code = match logic {
        Some(&"and") => Code::PredAnd,
        Some(&"or") => Code::PredOr,
        Some(_) => Code::PredXor,
        None => Code::PredMov,
    };
    let first = d.temp(Bank::P);
    d.put(code, first, [all, other.unwrap_or(0), 0]);
    if let Some(q) = q {
        let not = d.temp(Bank::P);
        d.put(Code::PredNot, not, [all, 0, 0]);
        d.put(code, q, [not, other.unwrap_or(0), 0]);
    }
    d.put(Code::PredMov, p, [first, 0, 0]);
    Ok(())
}

pub(super) fn set(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let t = d.temp(Bank::P);
    compare(d, mods[0], mods[mods.len() - 1], mods.contains(&"ftz"), &i.operands[1], &i.operands[2], t)?;
    let one = match mods[mods.len() - 2] {
        "f32" => 1.0f32.to_bits(),
        "f16" => 0x3c00,
        "bf16" => 0x3f80,
        "u16" | "s16" => 0xffff,
        _ => !0,
    };
    let (yes, no) = (d.constant(Bank::W, one as u64), d.constant(Bank::W, 0));
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::Selp32, dst, [yes, no, t]);
    Ok(())
}

pub(super) fn selp(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let bank = type_bank(mods[0]);
    let (a, b) = (d.src(&i.operands[1], bank)?, d.src(&i.operands[2], bank)?);
    let c = d.pred(&i.operands[3])?;
    let dst = d.dst(&i.operands[0], bank)?;
    d.put(if bank == Bank::L { Code::Selp64 } else { Code::Selp32 }, dst, [a, b, c]);
    Ok(())
}

/// `a` where `c ≥ 0`, else `b`.
pub(super) fn slct(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let bank = type_bank(mods[mods.len() - 2]);
    let (a, b) = (d.src(&i.operands[1], bank)?, d.src(&i.operands[2], bank)?);
    let t = d.temp(Bank::P);
    compare(d, "ge", mods[mods.len() - 1], mods.contains(&"ftz"), &i.operands[3], &Operand::Int(0), t)?;
    let dst = d.dst(&i.operands[0], bank)?;
    d.put(if bank == Bank::L { Code::Selp64 } else { Code::Selp32 }, dst, [a, b, t]);
    Ok(())
}

// ---- moves and conversions ----

pub(super) fn mov(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    if mods[0] == "pred" {
        let a = d.pred(&i.operands[1])?;
        let dst = d.dst(&i.operands[0], Bank::P)?;
        d.put(Code::PredMov, dst, [a, 0, 0]);
        return Ok(());
    }
    let bank = type_bank(mods[0]);
    match (&i.operands[0], &i.operands[1]) {
        (to, Operand::Vector(parts)) => {
            d.width = 4;
            let from = match (bank, parts.len()) {
                (Bank::W, 2) | (Bank::L, 2 | 4) => parts.iter().map(|p| d.src(p, Bank::W)).collect::<Result<Vec<_>, _>>()?,
                _ => return Err(format!("{} parts do not make a {}", parts.len(), mods[0])),
            };
            let dst = d.dst(to, bank)?;
            let code = match (bank, from.len()) {
                (Bank::W, _) => Code::Pack16,
                (_, 2) => Code::Pack32x2,
                _ => Code::Pack16x4,
            };
            let at = |k: usize| from.get(k).copied().unwrap_or(0);
            d.put(code, dst, [at(0), at(1), at(2)]);
            d.program.ops.last_mut().expect("just put").x = at(3);
        }
        (Operand::Vector(parts), from) => {
            let a = d.src(from, bank)?;
            let to = parts.iter().map(|p| d.dst(p, Bank::W)).collect::<Result<Vec<_>, _>>()?;
            let code = match (bank, to.len()) {
                (Bank::W, 2) => Code::Unpack16,
                (Bank::L, 2) => Code::Unpack32,
                (Bank::L, 4) => Code::Unpack16x4,
                _ => return Err(format!("a {} has no {} parts", mods[0], parts.len())),
            };
            let at = |k: usize| to.get(k).copied().unwrap_or(0);
            let op = d.emit(code);
            (op.a, op.d, op.b, op.c, op.x) = (a, at(0), at(1), at(2), at(3));
        }
        (to, from) => {
            let a = d.src(from, bank)?;
            let dst = d.dst(to, bank)?;
            d.put(if bank == Bank::L { Code::Mov64 } else { Code::Mov32 }, dst, [a, 0, 0]);
        }
    }
    Ok(())
}

/// Integer to integer: take the source's type, then the destination's, then fill the register.
pub(super) fn cvt_int(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[0], mods[1]);
    let size = |t: &str| type_size(&format!(".{t}")).expect("the form lists types");
    let dst_bank = d.bank(&i.operands[0]).unwrap_or(if size(to) == 8 { Bank::L } else { Bank::W });
    let src_bank = if size(from) == 8 { Bank::L } else { Bank::W };
    let a = d.src(&i.operands[1], src_bank)?;
    let dst = d.dst(&i.operands[0], dst_bank)?;
    let signed = |t: &str| t.starts_with('s');
    // The narrower of the two types decides which bits survive, and its own sign how they are extended.
    let (bytes, sign) = if size(to) <= size(from) { (size(to), signed(to)) } else { (size(from), signed(from)) };
    // A widened 16-bit destination is cut again: registers hold 16-bit values zero-extended.
    let half = d.is_half(&i.operands[0]);
    let code = match (src_bank, dst_bank) {
        (Bank::W, Bank::W) => match (bytes, sign, half) {
            (1, true, true) => Code::Sext8To16,
            (1, true, false) if size(to) == 2 => Code::Sext8To16,
            (1, true, false) => Code::Sext8,
            (1, false, _) => Code::Zext8,
            (2, true, false) if size(to) > 2 => Code::Sext16,
            (2, true, false) if size(to) == 2 => Code::Sext16,
            (2, ..) => Code::Zext16,
            _ => Code::Mov32,
        },
        (Bank::W, _) => match (bytes, sign) {
            (1, true) => Code::Ext8S64,
            (1, false) => Code::Ext8U64,
            (2, true) => Code::Ext16S64,
            (2, false) => Code::Ext16U64,
            (_, true) => Code::CvtS64S32,
            _ => Code::CvtU64U32,
        },
        (_, Bank::W) => match (bytes, sign, half) {
            (1 | 2, ..) => {
                let t = d.temp(Bank::W);
                d.put(Code::Cvt32L, t, [a, 0, 0]);
                let code = match (bytes, sign, half) {
                    (1, true, true) => Code::Sext8To16,
                    (1, true, false) => Code::Sext8,
                    (1, false, _) => Code::Zext8,
                    (2, true, false) => Code::Sext16,
                    _ => Code::Zext16,
                };
                d.put(code, dst, [t, 0, 0]);
                return Ok(());
            }
            _ => Code::Cvt32L,
        },
        _ => match (bytes, sign) {
            (1, true) => Code::Sext8L,
            (1, false) => Code::Zext8L,
            (2, true) => Code::Sext16L,
            (2, false) => Code::Zext16L,
            (4, true) => Code::Sext32L,
            (4, false) => Code::Zext32L,
            _ => Code::Mov64,
        },
    };
    d.put(code, dst, [a, 0, 0]);
    Ok(())
}

pub(super) fn cvt(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let size = |t: &str| if t == "tf32" { 4 } else { type_size(&format!(".{t}")).expect("the form lists types") };
    let src_bank = if size(from) == 8 { Bank::L } else { Bank::W };
    let mut a = d.src(&i.operands[1], src_bank)?;
    let dst_bank = if size(to) == 8 { Bank::L } else { Bank::W };
    let dst = d.dst(&i.operands[0], dst_bank)?;
    let float = |t: &str| t.starts_with('f') || t.starts_with('b');
    // Small integers are widened first.
    let mut from = from;
    if !float(from) && size(from) < 4 {
        let t = d.temp(Bank::W);
        let code = match from {
            "s8" => Code::Sext8,
            "u8" => Code::Zext8,
            "s16" => Code::Sext16,
            _ => Code::Zext16,
        };
        d.put(code, t, [a, 0, 0]);
        a = t;
        from = if from.starts_with('s') { "s32" } else { "u32" };
    }
    let rounding: Vec<&str> = mods[..mods.len() - 2].to_vec();
    match numeric::cvt(&rounding, to, from) {
        Some(numeric::Cvt::Code(code)) => d.put(code, dst, [a, 0, 0]),
        Some(numeric::Cvt::Num(num)) => d.put_num(num, dst, [a, 0, 0]),
        None => return Err(format!("`{}`: this rounding is not supported", i.opcode)),
    }
    Ok(())
}

/// Two floats to a pair: the first goes to the high half.
pub(super) fn cvt_pair(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    d.num(numeric::cvt_pair(mods), i)
}

/// Between integers, to the nearest value of the destination's type.
pub(super) fn cvt_sat(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[1], mods[2]);
    let wide = |t: &str| t.ends_with("64");
    let a = d.src(&i.operands[1], if wide(from) { Bank::L } else { Bank::W })?;
    let dst = d.dst(&i.operands[0], if wide(to) { Bank::L } else { Bank::W })?;
    let half = d.is_half(&i.operands[0]);
    d.put_num(numeric::cvt_sat(to, from, half), dst, [a, 0, 0]);
    Ok(())
}

pub(super) fn cvta(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let to = mods[0] == "to";
    let space = mods[to as usize];
    let a = d.src(&i.operands[1], Bank::L)?;
    let dst = d.dst(&i.operands[0], Bank::L)?;
    let window = match space {
        "shared" => super::mem::SHARED_WINDOW,
        "local" => super::mem::LOCAL_WINDOW,
        // Parameter addresses carry their window already; global and constant memory lie at their generic addresses.
        _ => {
            d.put(Code::Mov64, dst, [a, 0, 0]);
            return Ok(());
        }
    };
    let w = d.constant(Bank::L, window);
    d.put(if to { Code::Sub64 } else { Code::Add64 }, dst, [a, w, 0]);
    Ok(())
}

pub(super) fn isspacep(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let a = d.src(&i.operands[1], Bank::L)?;
    let dst = d.dst(&i.operands[0], Bank::P)?;
    d.put(Code::IsSpace, dst, [a, 0, 0]);
    d.program.ops.last_mut().expect("just put").x = match mods[0] {
        "shared" => 0,
        "local" => 1,
        "const" => 2,
        _ => 3,
    };
    Ok(())
}

// ---- memory ----

fn space(mods: &[&str]) -> Option<Space> {
    mods.iter().find_map(|m| match *m {
        "global" => Some(Space::Global),
        "shared" | "shared::cta" => Some(Space::Shared),
        "local" => Some(Space::Local),
        "const" => Some(Space::Const),
        _ => None,
    })
}

/// Where a strong access goes, in [`Op::x`].
pub(crate) mod strong {
    use crate::ptx::source::Space;

    const SPACES: [Option<Space>; 3] = [None, Some(Space::Global), Some(Space::Shared)];

    pub fn space(x: u16) -> Option<Space> {
        SPACES[x as usize]
    }
    /// None: this space is seen by one thread, or nobody writes to it.
    pub fn code(space: Option<Space>) -> Option<u16> {
        SPACES.iter().position(|s| *s == space).map(|i| i as u16)
    }
}

/// Whether the modifiers make an access strong, whether they order it (`.acquire`, `.release`, `.acq_rel`), and whether beyond the
/// block.
fn order(mods: &[&str]) -> (bool, bool, bool) {
    let ordered = mods.iter().any(|m| matches!(*m, "acquire" | "release" | "acq_rel"));
    (ordered || mods.iter().any(|m| matches!(*m, "volatile" | "relaxed")), ordered, !mods.contains(&"cta"))
}

pub(super) fn ld(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let space = space(mods);
    let address = d.address(&i.operands[1], space)?;
    let mem = d.mem(&i.operands[0], mods, true)?;
    let code = match space {
        Some(Space::Global | Space::Const) => Code::LdGlobal,
        Some(Space::Shared) => Code::LdShared,
        Some(Space::Local) => Code::LdLocal,
        _ => Code::LdGeneric,
    };
    let (true, ordered, device) = order(mods) else { return d.put_mem(code, mem, address) };
    let Some(x) = strong::code(space) else { return d.put_mem(code, mem, address) };
    d.put_mem(Code::LdStrong, mem, address)?;
    d.program.ops.last_mut().expect("just put").x = x;
    // To acquire is to read, then to fence.
    if ordered {
        d.emit(Code::Fence).x = device as u16;
    }
    Ok(())
}

pub(super) fn st(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let space = space(mods);
    let address = d.address(&i.operands[0], space)?;
    let mem = d.mem(&i.operands[1], mods, false)?;
    let code = match space {
        Some(Space::Global) => Code::StGlobal,
        Some(Space::Shared) => Code::StShared,
        Some(Space::Local) => Code::StLocal,
        _ => Code::StGeneric,
    };
    let (true, ordered, device) = order(mods) else { return d.put_mem(code, mem, address) };
    let Some(x) = strong::code(space) else { return d.put_mem(code, mem, address) };
    // To release is to fence, then to write.
    if ordered {
        d.emit(Code::Fence).x = device as u16;
    }
    d.put_mem(Code::StStrong, mem, address)?;
    d.program.ops.last_mut().expect("just put").x = x;
    Ok(())
}

pub(super) fn ld_param(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let Operand::Address(base, plus) = &i.operands[1] else { return Err("expected an address".into()) };
    let mem = d.mem(&i.operands[0], mods, true)?;
    if let Operand::Reg(_) = **base {
        let address = d.address(&i.operands[1], Some(Space::Param))?;
        return d.put_mem(Code::LdKernelParam, mem, address);
    }
    let at = d.param_offset(base)?;
    let end = *plus + mem.bytes as i64 * mem.count as i64;
    if *plus < 0 || end > d.param_size(base) as i64 {
        return Err(format!("reads bytes {plus} to {end} of a parameter of {} bytes", d.param_size(base)));
    }
    let at = at + *plus as u32;
    if matches!(**base, Operand::Formal(false, _)) && d.f.entry {
        // The kernel's own parameters are constants of the launch.
        for k in 0..mem.count {
            if mem.regs[k as usize] == SINK {
                continue;
            }
            let p = Preset::KernelParam { at: at + (k * mem.bytes) as u32, bytes: mem.bytes, signed: mem.signed };
            let (bank, code) = if mem.wide { (Bank::L, Code::Mov64) } else { (Bank::W, Code::Mov32) };
            let a = d.preset(bank, p);
            d.put(code, mem.regs[k as usize], [a, 0, 0]);
            if mem.half && mem.signed && mem.bytes == 1 {
                d.put(Code::Zext16, mem.regs[k as usize], [mem.regs[k as usize], 0, 0]);
            }
        }
        return Ok(());
    }
    d.put_mem(Code::LdParam, mem, (0, true, at as i32))
}

pub(super) fn st_param(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let Operand::Address(base, plus) = &i.operands[0] else { return Err("expected an address".into()) };
    let mem = d.mem(&i.operands[1], mods, false)?;
    let at = d.param_offset(base)?;
    let end = *plus + mem.bytes as i64 * mem.count as i64;
    if *plus < 0 || end > d.param_size(base) as i64 {
        return Err(format!("writes bytes {plus} to {end} of a parameter of {} bytes", d.param_size(base)));
    }
    d.put_mem(Code::StParam, mem, (0, true, at as i32 + *plus as i32))
}

pub(super) fn atom(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let red = i.opcode.starts_with("red");
    let name = mods[..mods.len() - 1].iter().rev().find(|m| **m != "noftz").expect("the form has an operation");
    let op = match *name {
        "add" => AtomOp::Add,
        "min" => AtomOp::Min,
        "max" => AtomOp::Max,
        "inc" => AtomOp::Inc,
        "dec" => AtomOp::Dec,
        "and" => AtomOp::And,
        "or" => AtomOp::Or,
        "xor" => AtomOp::Xor,
        "exch" => AtomOp::Exch,
        _ => AtomOp::Cas,
    };
    let ty = match mods[mods.len() - 1] {
        "b16" => AtomType::B16,
        "s32" => AtomType::S32,
        "b32" | "u32" => AtomType::U32,
        "s64" => AtomType::S64,
        "b64" | "u64" => AtomType::U64,
        "f32" => AtomType::F32,
        "f16" => AtomType::F16,
        "bf16" => AtomType::Bf16,
        "f16x2" => AtomType::F16x2,
        "bf16x2" => AtomType::Bf16x2,
        _ => AtomType::F64,
    };
    let float = matches!(ty, AtomType::F32 | AtomType::F64);
    if (float && !matches!(op, AtomOp::Add | AtomOp::Exch)) || (ty == AtomType::B16 && op != AtomOp::Cas) {
        return Err(format!("`{}` does not exist", i.opcode));
    }
    let n = 2 + !red as usize + (op == AtomOp::Cas) as usize;
    arity(i, n)?;
    let bank = if ty.bytes() == 8 { Bank::L } else { Bank::W };
    let space = space(mods);
    let at = !red as usize;
    let (a, address64, imm) = d.address(&i.operands[at], space)?;
    let b = d.src(&i.operands[at + 1], bank)?;
    let c = if op == AtomOp::Cas { d.src(&i.operands[at + 2], bank)? } else { 0 };
    let dst = if red || i.operands[0] == Operand::Sink { SINK } else { d.dst(&i.operands[0], bank)? };
    let atom = Atom { op, ty, space, address64, count: 1, d: [dst, SINK, SINK, SINK], b: [b, 0, 0, 0], c };
    // An atomic acquires in any case.
    if mods.iter().any(|m| matches!(*m, "release" | "acq_rel")) {
        d.emit(Code::Fence).x = !mods.contains(&"cta") as u16;
    }
    let x = d.extra(Extra::Atom(atom))?;
    let op = d.emit(Code::Atom);
    (op.a, op.imm, op.x) = (a, imm, x);
    Ok(())
}

pub(super) fn fence(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 0)?;
    let scope = mods.iter().any(|m| matches!(*m, "gl" | "gpu" | "sys")) as u16;
    d.emit(Code::Fence).x = scope;
    Ok(())
}

pub(super) fn nop(d: &mut Decoder, _: &Instr, _: &[&str]) -> Done {
    d.emit(Code::Nop);
    Ok(())
}

pub(super) fn cp_async(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    match mods[1] {
        "commit_group" => {
            arity(i, 0)?;
            d.emit(Code::CpCommit);
        }
        "wait_all" => {
            arity(i, 0)?;
            d.emit(Code::CpWait).imm = -1;
        }
        "wait_group" => {
            arity(i, 1)?;
            let Operand::Int(n @ 0..) = i.operands[0] else { return Err("the number of groups must be a constant".into()) };
            d.emit(Code::CpWait).imm = n.min(i32::MAX as i64) as i32;
        }
        kind => {
            between(i, 3, 4)?;
            let Operand::Int(bytes @ (4 | 8 | 16)) = i.operands[2] else { return Err("the copy size must be 4, 8 or 16".into()) };
            if kind == "cg" && bytes != 16 {
                return Err("cp.async.cg copies 16 bytes".into());
            }
            let (to, wide, to_offset) = d.address(&i.operands[0], Some(Space::Shared))?;
            let (from, _, from_offset) = d.address(&i.operands[1], Some(Space::Global))?;
            let size = match i.operands.get(3) {
                Some(o) => Some(d.src(o, Bank::W)?),
                None => None,
            };
            // Offsets are folded into the registers, so that the op needs none.
            let to = match (wide, to_offset) {
                (false, 0) => to,
                (false, n) => {
                    let (t, k) = (d.temp(Bank::W), d.constant(Bank::W, n as u64));
                    d.put(Code::Add32, t, [to, k, 0]);
                    t
                }
                (true, n) => {
                    let (t, k, w) = (d.temp(Bank::L), d.constant(Bank::L, n as i64 as u64), d.temp(Bank::W));
                    d.put(Code::Add64, t, [to, k, 0]);
                    d.put(Code::Cvt32L, w, [t, 0, 0]);
                    w
                }
            };
            let op = d.emit(Code::CpAsync);
            (op.a, op.b, op.imm) = (to, from, from_offset);
            (op.c, op.d) = (size.unwrap_or(0), size.is_some() as u16);
            op.x = bytes as u16;
        }
    }
    Ok(())
}

// ---- control ----

pub(super) fn bra(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let Operand::Label(target) = i.operands[0] else { return Err("expected a label".into()) };
    d.fixups.push((d.program.ops.len(), target));
    d.emit(Code::Bra);
    Ok(())
}

pub(super) fn ret(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 0)?;
    let exit = i.opcode == "exit" || d.f.entry;
    d.emit(if exit { Code::Exit } else { Code::Ret });
    Ok(())
}

pub(super) fn trap(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 0)?;
    let x = d.extra(Extra::Text(format!("the kernel executed `{}`", i.opcode)))?;
    d.emit(Code::Trap).x = x;
    Ok(())
}

pub(super) fn call(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    let mut rest = i.operands.as_slice();
    let mut rets: &[Operand] = &[];
    if let [Operand::List(r), tail @ ..] = rest {
        (rets, rest) = (r, tail);
    }
    let [Operand::Name(name), tail @ ..] = rest else { return Err("indirect calls are not supported".into()) };
    let args: &[Operand] = match tail {
        [] => &[],
        [Operand::List(a)] => a,
        _ => return Err("indirect calls are not supported".into()),
    };
    let source = d.source;
    // A prototype may precede the definition.
    let all = || source.functions.iter().enumerate().filter(|(_, f)| f.name == *name && !f.entry);
    let Some((target, f)) = all().find(|(_, f)| f.has_body).or_else(|| all().next()) else {
        return Err(format!("call of `{name}`, which is not in the module"));
    };
    if !f.has_body {
        if name == "__assertfail" {
            let x = d.extra(Extra::Text("an assertion failed".into()))?;
            d.emit(Code::Trap).x = x;
            return Ok(());
        }
        return Err(format!("call of the external function `{name}` is not supported"));
    }
    if args.len() != f.params.len() || rets.len() != f.rets.len() {
        return Err(format!("`{name}` takes {} parameters and returns {} values", f.params.len(), f.rets.len()));
    }
    let (formals, end) = layout(&f.params, 0);
    let (returns, _) = layout(&f.rets, end);
    let mut call = Call { function: 0, args: Vec::new(), rets: Vec::new() };
    for ((o, v), at) in args.iter().zip(&f.params).zip(formals) {
        call.args.push((d.param_offset(o)?, at, v.size));
    }
    for ((o, v), at) in rets.iter().zip(&f.rets).zip(returns) {
        call.rets.push((d.param_offset(o)?, at, v.size));
    }
    let next = d.numbers.len() as u32;
    call.function = *d.numbers.entry(target as u32).or_insert(next);
    let x = d.extra(Extra::Call(call))?;
    d.emit(Code::Call).x = x;
    Ok(())
}

// ---- threads together ----

/// How a barrier is used, in [`Op::x`]: the low bits say what it does.
pub(crate) mod barrier {
    pub const SYNC: u16 = 0;
    pub const ARRIVE: u16 = 1;
    pub const POPC: u16 = 2;
    pub const AND: u16 = 3;
    pub const OR: u16 = 4;
    pub const KIND: u16 = 7;
    /// The whole warp must come.
    pub const ALIGNED: u16 = 8;
    /// `b` holds the number of threads.
    pub const COUNT: u16 = 16;
    /// The source predicate is negated.
    pub const NOT: u16 = 32;
}

pub(super) fn bar(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let has = |m: &str| mods.contains(&m);
    let mut x = match () {
        _ if has("arrive") => barrier::ARRIVE,
        _ if has("popc") => barrier::POPC,
        _ if has("and") => barrier::AND,
        _ if has("or") => barrier::OR,
        _ => barrier::SYNC,
    };
    if i.opcode.starts_with("bar.") || has("aligned") {
        x |= barrier::ALIGNED;
    }
    let red = x & barrier::KIND >= barrier::POPC;
    let operands = i.operands.as_slice();
    let (result, operands) = if red {
        let bank = if x & barrier::KIND == barrier::POPC { Bank::W } else { Bank::P };
        let [first, rest @ ..] = operands else { return Err("expected a result".into()) };
        (d.dst(first, bank)?, rest)
    } else {
        (0, operands)
    };
    let (source, operands) = if red {
        let [rest @ .., last] = operands else { return Err("expected a predicate".into()) };
        let (o, not) = match last {
            Operand::NotReg(r) => (Operand::Reg(*r), true),
            o => (o.clone(), false),
        };
        if not {
            x |= barrier::NOT;
        }
        (d.src(&o, Bank::P)?, rest)
    } else {
        (0, operands)
    };
    let (id, count) = match operands {
        [id] if x & barrier::KIND != barrier::ARRIVE => (d.src(id, Bank::W)?, 0),
        [id, n] => {
            x |= barrier::COUNT;
            (d.src(id, Bank::W)?, d.src(n, Bank::W)?)
        }
        _ => return Err("expected a barrier, and the number of threads".into()),
    };
    let op = d.emit(Code::Bar);
    (op.d, op.a, op.b, op.c, op.x) = (result, id, count, source, x);
    Ok(())
}

pub(super) fn bar_warp(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let mask = d.src(&i.operands[0], Bank::W)?;
    d.emit(Code::BarWarp).imm = mask as i32;
    Ok(())
}

/// `.sync` instructions keep the slot of their member mask in `imm`.
pub(super) fn shfl(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 5)?;
    let (to, p) = match &i.operands[0] {
        Operand::Pair(a, p) => (d.dst(a, Bank::W)?, if **p == Operand::Sink { 0 } else { d.dst(p, Bank::P)? }),
        o => (d.dst(o, Bank::W)?, 0),
    };
    let mut s = [0; 4];
    for k in 0..4 {
        s[k] = d.src(&i.operands[k + 1], Bank::W)?;
    }
    let mode = match mods[1] {
        "up" => 0,
        "down" => 1,
        "bfly" => 2,
        _ => 3,
    };
    let op = d.emit(Code::Shfl);
    (op.d, op.a, op.b, op.c) = (to, s[0], s[1], s[2]);
    op.imm = s[3] as i32;
    // The predicate shares `x` with the mode; 0 is the constant predicate and so means none.
    if p >= 1 << 14 {
        return Err("too many predicates".into());
    }
    op.x = mode | p << 2;
    Ok(())
}

pub(super) fn vote(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let mode = match mods[1] {
        "all" => 0,
        "any" => 1,
        "uni" => 2,
        _ => 3,
    };
    let dst = d.dst(&i.operands[0], if mode == 3 { Bank::W } else { Bank::P })?;
    let a = d.pred(&i.operands[1])?;
    let mask = d.src(&i.operands[2], Bank::W)?;
    let op = d.emit(Code::Vote);
    (op.d, op.a, op.x, op.imm) = (dst, a, mode, mask as i32);
    Ok(())
}

pub(super) fn match_(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let bank = type_bank(mods[2]);
    let all = mods[0] == "all";
    let (dst, p) = match &i.operands[0] {
        Operand::Pair(a, p) if all => (d.dst(a, Bank::W)?, if **p == Operand::Sink { 0 } else { d.dst(p, Bank::P)? }),
        o => (d.dst(o, Bank::W)?, 0),
    };
    let a = d.src(&i.operands[1], bank)?;
    let mask = {
        d.width = 4;
        d.src(&i.operands[2], Bank::W)?
    };
    let op = d.emit(Code::Match);
    (op.d, op.a, op.b, op.imm) = (dst, a, p, mask as i32);
    op.x = all as u16 | ((bank == Bank::L) as u16) << 1;
    Ok(())
}

pub(super) fn redux(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let a = d.src(&i.operands[1], Bank::W)?;
    let mask = d.src(&i.operands[2], Bank::W)?;
    let dst = d.dst(&i.operands[0], Bank::W)?;
    let signed = mods[2] == "s32";
    let mode = match mods[1] {
        "add" => 0,
        "min" => 1 + ((signed as u16) << 1),
        "max" => 2 + ((signed as u16) << 1),
        "and" => 5,
        "or" => 6,
        _ => 7,
    };
    let op = d.emit(Code::Redux);
    (op.d, op.a, op.x, op.imm) = (dst, a, mode, mask as i32);
    Ok(())
}

pub(super) fn activemask(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.emit(Code::ActiveMask).d = dst;
    Ok(())
}

// ---- tensor cores ----

fn registers(d: &mut Decoder, o: &Operand, n: usize, dst: bool) -> Result<Vec<u16>, String> {
    let list = match o {
        Operand::Vector(v) => v.as_slice(),
        one => std::slice::from_ref(one),
    };
    if list.len() != n {
        return Err(format!("expected {n} registers, found {}", list.len()));
    }
    list.iter().map(|o| if dst { d.dst(o, Bank::W) } else { d.src(o, Bank::W) }).collect()
}

pub(super) fn ldmatrix(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let n = match () {
        _ if mods.contains(&"x1") => 1,
        _ if mods.contains(&"x2") => 2,
        _ => 4,
    };
    let address = d.address(&i.operands[1], Some(Space::Shared))?;
    let to = registers(d, &i.operands[0], n, true)?;
    let mut regs = [SINK; 4];
    regs[..n].copy_from_slice(&to);
    let mem = Mem { bytes: 16, count: n as u8, signed: false, wide: false, half: false, address64: true, regs };
    d.put_mem(Code::LdMatrix, mem, address)?;
    d.program.ops.last_mut().expect("just put").x = mods.contains(&"trans") as u16;
    Ok(())
}

pub(super) fn movmatrix(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 2)?;
    // `.b16` is the type of an element; the registers hold two.
    let a = d.src(&i.operands[1], Bank::W)?;
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::MovMatrix, dst, [a, 0, 0]);
    Ok(())
}

pub(super) fn mma(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let element = match mods[6] {
        "f16" => Element::F16,
        "bf16" => Element::Bf16,
        _ => Element::Tf32,
    };
    if mods[5] != mods[8] {
        return Err("D and C of different types are not supported".into());
    }
    let half_sum = mods[5] == "f16";
    let k = mods[2].strip_prefix("m16n8k").and_then(|k| k.parse().ok()).expect("the form names a shape");
    let shape = Mma::new(element, half_sum, k, Tensor::Ideal).ok_or("this shape does not exist")?;
    let (a, b, c) = shape.registers();
    let regs = [
        registers(d, &i.operands[0], c, true)?,
        registers(d, &i.operands[1], a, false)?,
        registers(d, &i.operands[2], b, false)?,
        registers(d, &i.operands[3], c, false)?,
    ];
    let x = d.extra(Extra::Mma(MatrixOp { element, half_sum, k, regs }))?;
    d.emit(Code::Mma).x = x;
    Ok(())
}
