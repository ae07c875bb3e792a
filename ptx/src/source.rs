//! The syntax tree of PTX text. Opcodes are text here: what an instruction means, and whether it is supported, is decided when a
//! kernel is decoded. What the parser did not understand is kept as text with the reason ([`Refusal`]), and costs the kernels
//! that need it, no others.

use std::collections::HashMap;

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub functions: Vec<Function>,
    /// Variables at module scope, and the global and constant ones of bodies.
    pub vars: Vec<Var>,
    /// Variables at module scope by name. Of a declaration and a definition, the definition.
    pub var_names: HashMap<String, u32>,
    /// Functions and kernels by name. Of a declaration and a definition, the definition; an alias stands for its function.
    pub function_names: HashMap<String, u32>,
    /// `.alias`: (alias, function), until names are resolved.
    pub aliases: Vec<(String, String)>,
    /// Functions of which text or an initial value takes the address, sorted.
    pub addressed: Vec<u32>,
    /// Statements at module scope that were not understood.
    pub unread: Vec<Refusal>,
    /// `.file`: source files by number.
    pub files: HashMap<u32, String>,
    /// `.loc` rows; an instruction names one by index.
    pub locs: Vec<Loc>,
    /// Names that `.loc … function_name LABEL` refers to.
    pub strings: HashMap<String, String>,
}

impl Source {
    /// A variable at module scope.
    pub fn var(&self, name: &str) -> Option<u32> {
        self.var_names.get(name).copied()
    }

    /// A function or kernel.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.function_names.get(name).copied()
    }

    /// The statement at module scope that names `name` and was not understood.
    pub fn unread_about(&self, name: &str) -> Option<&Refusal> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%');
        self.unread.iter().find(|r| r.text.split(|c| !word(c)).any(|w| w == name))
    }
}

/// Text that was not understood, or that names what is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub line: u32,
    pub why: String,
    /// The statement, blanks collapsed.
    pub text: String,
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
    /// Bytes that an index of the variable counts in; 0: the variable is no array.
    pub element: u32,
    /// The type of one element, as written: `.f32`.
    pub ty: String,
    /// A parameter that is declared to be a pointer (`.ptr`).
    pub pointer: bool,
    pub init: Vec<u8>,
    pub relocations: Vec<Relocation>,
    /// The registers of a `.reg` formal; empty for one in parameter memory.
    pub regs: Vec<u32>,
    /// Kernels that use the variable cannot be run.
    pub refused: Option<Refusal>,
}

/// An address among the initial values of a variable.
#[derive(Debug, Clone)]
pub(crate) struct Relocation {
    pub at: u32,
    /// How many bytes of the address are kept, from which byte on.
    pub bytes: u8,
    pub first: u8,
    pub name: String,
    pub to: Target,
    pub plus: i64,
}

/// What a [`Relocation`] points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Var(u32),
    Function(u32),
    /// Nothing that has an address: the pointer stays null, and an access through it is a fault.
    Nothing,
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
    /// `.branchtargets`, `.callprototype` and `.calltargets`.
    pub tables: Vec<Table>,
    /// Kernels that are or call this function cannot be run.
    pub refused: Option<Refusal>,
    /// Line of the name.
    pub line: u32,
}

/// What a label in front of a directive stands for.
#[derive(Debug)]
pub(crate) enum Table {
    /// Targets of `brx.idx`: indices into the body.
    Branches(Vec<u32>),
    /// What an indirect call takes: results and parameters.
    Prototype(Vec<Var>, Vec<Var>),
    /// The functions that an indirect call may reach.
    Calls(Vec<String>),
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
    /// Why the statement was not understood.
    pub refused: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Reg(u32),
    /// `!p`
    NotReg(u32),
    /// `p|q`; a missing side is `_`. Also `symbol + offset` as a value.
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
    /// A global or constant variable of the body: index into [`Source::vars`].
    Global(u32),
    /// A branch target: index into the body.
    Label(u32),
    /// The label of a [`Table`].
    Table(u32),
    /// `[base + offset]`
    Address(Box<Operand>, i64),
    /// `array[3]`, `array[%r + 3]`: variable, register, number, bytes of an element.
    Element(Box<Operand>, Option<u32>, i64, u32),
    /// `[map, {x, y}]`
    Bracket(Vec<Operand>),
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
