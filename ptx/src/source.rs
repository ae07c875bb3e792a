//! The syntax tree of PTX text. Opcodes are text here: what an instruction means, and whether it is supported, is decided when a
//! kernel is decoded.

use std::collections::HashMap;

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub functions: Vec<Function>,
    /// Variables at module scope: global, constant and shared.
    pub vars: Vec<Var>,
    /// `.file`: source files by number.
    pub files: HashMap<u32, String>,
    /// `.loc` rows; an instruction names one by index.
    pub locs: Vec<Loc>,
    /// Names that `.loc … function_name LABEL` refers to.
    pub strings: HashMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Loc {
    pub file: u32,
    pub line: u32,
    pub col: u32,
    /// The inlined function's label in `.debug_str`, and the place it was inlined at.
    pub inlined: Option<(String, u32, u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// A variable: of the module, of a function, or a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Var {
    pub name: String,
    pub space: Space,
    pub align: u32,
    /// Bytes; 0 for `.extern .shared x[]`, whose size the launch gives.
    pub size: u32,
    pub external: bool,
    /// The type of one element, as written: `.f32`.
    pub ty: String,
    /// A parameter that is declared to be a pointer (`.ptr`).
    pub pointer: bool,
    pub init: Vec<u8>,
    /// Addresses inside `init`: (offset, symbol, addend).
    pub relocations: Vec<(u32, String, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegType {
    Pred,
    /// 8- and 16-bit registers, kept zero-extended.
    B16,
    B32,
    B64,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub name: String,
    pub entry: bool,
    pub rets: Vec<Var>,
    pub params: Vec<Var>,
    /// `.maxntid` or `.reqntid`.
    pub max_threads: Option<[u32; 3]>,
    pub required_threads: bool,
    pub regs: Vec<RegType>,
    pub reg_names: Vec<String>,
    /// `.local`, `.shared` and `.param` variables of the body.
    pub vars: Vec<Var>,
    pub body: Vec<Instr>,
    pub has_body: bool,
}

#[derive(Debug)]
pub(crate) struct Instr {
    /// Guard: register and whether it is negated.
    pub guard: Option<(u32, bool)>,
    pub opcode: String,
    pub operands: Vec<Operand>,
    /// For error messages: the statement as written, blanks collapsed.
    pub text: String,
    pub line: u32,
    /// Index into [`Source::locs`].
    pub loc: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Reg(u32),
    /// `!p`
    NotReg(u32),
    /// `p|q`; a missing side is `_`.
    Pair(Box<Operand>, Box<Operand>),
    Int(i64),
    F32(u32),
    F64(u64),
    /// A variable of the function (index into its `vars`).
    Local(u32),
    /// A formal parameter or return value: (is return value, index).
    Formal(bool, u32),
    /// Any other name: a module variable, a function or a special register.
    Name(String),
    /// A branch target: index into the body.
    Label(u32),
    /// `[base + offset]`
    Address(Box<Operand>, i64),
    Vector(Vec<Operand>),
    /// A parenthesised list, of a call.
    List(Vec<Operand>),
    /// `_`
    Sink,
}

/// Bytes of a fundamental type.
pub(crate) fn type_size(t: &str) -> Option<u32> {
    Some(match t {
        ".b8" | ".u8" | ".s8" => 1,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 4,
        ".b64" | ".u64" | ".s64" | ".f64" => 8,
        _ => return None,
    })
}
