//! What a launch grants its kernel: pointers as arguments, inside structs, in tables and in variables; what is said of the rest.

use lae_ptx::{Arg, Config, Launch, Machine, Module};

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

fn module(text: &str) -> Module {
    Module::parse("test.ptx", &format!("{HEAD}{text}")).unwrap()
}

/// `*(struct { u32* p; }){args}.p = 7`, as code in a header-only library would be called.
const BY_STRUCT: &str = ".visible .entry by_struct(.param .align 8 .b8 args[24]) {
    .reg .b64 %p, %q; .reg .b32 %r;
    ld.param.u64 %p, [args+8];
    ld.param.u64 %q, [args];
    ld.global.u32 %r, [%q];
    st.global.u32 [%p], %r;
    ret; }";

#[test]
fn pointers_inside_a_struct() {
    let module = module(BY_STRUCT);
    let mut m = Machine::new(Config::default());
    let (x, y) = (m.alloc("x", 4), m.alloc("y", 4));
    m.write(x, &7u32.to_le_bytes()).unwrap();
    let given = |pointers| Arg::Struct { bytes: vec![0; 24], pointers };
    let read = Arg::Read { addr: x, len: 4 };
    let mut go = |arg| m.launch(&module, "by_struct", &Launch::new([1; 3], [1; 3], vec![arg])).map_err(|f| f.to_string());

    go(given(vec![(0, read.clone()), (8, Arg::Write { addr: y, len: 4 }), (16, 3f64.into())])).unwrap();
    // A struct in a struct.
    let inner = Arg::Struct { bytes: vec![0; 16], pointers: vec![(0, Arg::Update { addr: y, len: 4 })] };
    go(given(vec![(0, read.clone()), (8, inner)])).unwrap();

    let inner = |addr, len| Arg::Struct { bytes: vec![0; 16], pointers: vec![(0, Arg::Read { addr, len })] };
    for (arg, words) in [
        // Not granted: an address as a value is an address alone.
        (given(vec![(0, read.clone()), (8, y.into())]), "offset 0 of `y` (4 bytes), which is no argument of this launch"),
        (given(vec![(0, read.clone()), (8, Arg::Read { addr: y, len: 4 })]), "read-only memory at"),
        (given(vec![(0, read.clone()), (8, Arg::Read { addr: y, len: 4 })]), "offset 0 of argument 0, offset 8 (`y`, 4 bytes)"),
        (given(vec![(0, read.clone()), (8, inner(y, 4))]), "offset 0 of argument 0, offset 8, offset 0 (`y`, 4 bytes)"),
        (given(vec![(8, Arg::Read { addr: y, len: 8 })]), "argument 0 (`args`), offset 8: 8 bytes at offset 0 exceed `y`"),
        (given(vec![(8, inner(y + 64, 4))]), "argument 0 (`args`), offset 8, offset 0: "),
        (given(vec![(20, read.clone())]), "argument 0 (`args`), offset 20: a field of 8 bytes does not fit into a struct of 24"),
        (given(vec![(8, 1u64.into()), (12, 1u32.into())]), "offset 12: the field overlaps the one at offset 8"),
        (Arg::Struct { bytes: vec![0; 16], pointers: vec![] }, "argument 0 has 16 bytes; parameter `args` has 24"),
    ] {
        let text = go(arg).map(|_| ()).expect_err(words);
        assert!(text.contains(words), "no `{words}` in: {text}");
    }
}

/// The smallest kernel of this kind, from a report of a user: eight bytes that are a pointer.
#[test]
fn a_struct_that_is_a_pointer() {
    let module = module(
        ".visible .entry by_struct(.param .align 8 .b8 args[8]) { .reg .b64 %p;
        ld.param.u64 %p, [args]; st.global.u32 [%p], 7; ret; }",
    );
    let mut m = Machine::new(Config::default());
    let y = m.alloc("y", 4);
    let args = vec![Arg::Struct { bytes: vec![0; 8], pointers: vec![(0, Arg::Write { addr: y, len: 4 })] }];
    m.launch(&module, "by_struct", &Launch::new([1; 3], [1; 3], args)).unwrap();
    assert_eq!(m.bytes(y, 4).unwrap(), 7u32.to_le_bytes());
    let f = m.launch(&module, "by_struct", &Launch::new([1; 3], [1; 3], vec![y.into()])).unwrap_err();
    assert!(f.to_string().contains("which is no argument of this launch"), "{f}");
}

/// Each pointer comes from elsewhere: x from a table in memory, y from a variable.
#[test]
fn pointers_in_tables_and_variables() {
    let module = module(
        ".const .align 8 .b8 settings[16];
        .visible .entry k(.param .u64 table) { .reg .b64 %t, %p, %q; .reg .b32 %r;
        ld.param.u64 %t, [table]; ld.global.u64 %p, [%t+8]; ld.const.u64 %q, [settings+8];
        ld.global.u32 %r, [%p]; st.global.u32 [%q], %r; ret; }",
    );
    let mut m = Machine::new(Config::default());
    let (x, y, table) = (m.alloc("x", 8), m.alloc("y", 4), m.alloc("table", 16));
    m.write(x, &5u64.to_le_bytes()).unwrap();
    let (read, write) = (Arg::Read { addr: x, len: 8 }, Arg::Write { addr: y, len: 4 });
    m.write(table, &[Arg::Null.to_bytes().unwrap(), read.to_bytes().unwrap()].concat()).unwrap();
    let (settings, size) = m.symbol(&module, "settings").unwrap();
    assert_eq!(size, 16);
    m.write(settings + 8, &write.to_bytes().unwrap()).unwrap();

    let launch = Launch::new([1; 3], [1; 3], vec![Arg::Read { addr: table, len: 16 }]);
    let f = m.launch(&module, "k", &launch).unwrap_err().to_string();
    assert!(f.contains("offset 0 of `x` (8 bytes), which is no argument of this launch"), "{f}");
    let launch = launch.also(read);
    let f = m.launch(&module, "k", &launch.clone().also(Arg::Read { addr: y, len: 4 })).unwrap_err().to_string();
    assert!(f.contains("write to read-only memory") && f.contains("offset 0 of also 1 (`y`, 4 bytes)"), "{f}");
    let f = m.launch(&module, "k", &launch.clone().also(Arg::Read { addr: y, len: 5 })).unwrap_err().to_string();
    assert!(f.contains("launch: also 1: 5 bytes at offset 0 exceed `y`"), "{f}");
    m.launch(&module, "k", &launch.also(write)).unwrap();
    assert_eq!(m.bytes(y, 4).unwrap(), 5u32.to_le_bytes());
}

#[test]
fn numbers_of_every_type() {
    let sizes: Vec<usize> = [
        Arg::from(-1i8),
        255u8.into(),
        true.into(),
        (-2i16).into(),
        0x3c00u16.into(), // 1 in half precision
        7i32.into(),
        7u32.into(),
        1.5f32.into(),
        7i64.into(),
        7u64.into(),
        1.5f64.into(),
    ]
    .iter()
    .map(|a| a.to_bytes().unwrap().len())
    .collect();
    assert_eq!(sizes, [1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8]);
    assert_eq!(Arg::from(-2i64).to_bytes().unwrap(), (-2i64).to_le_bytes());
}

/// Memory that a kernel adds to holds no values when the launch gives it to be filled: the report says what to give instead.
#[test]
fn what_accumulates_needs_values() {
    let module = module(
        ".visible .entry atomic(.param .u64 y) { .reg .b64 %p; .reg .b32 %r;
        ld.param.u64 %p, [y]; atom.global.add.u32 %r, [%p], 1; ret; }
        .visible .entry plain(.param .u64 y) { .reg .b64 %p; .reg .b32 %r;
        ld.param.u64 %p, [y]; ld.global.u32 %r, [%p]; add.u32 %r, %r, 1; st.global.u32 [%p], %r; ret; }",
    );
    for kernel in ["atomic", "plain"] {
        let mut m = Machine::new(Config::default());
        let y = m.alloc("y", 4);
        let f = m.launch(&module, kernel, &Launch::new([1; 3], [1; 3], vec![Arg::Write { addr: y, len: 4 }])).unwrap_err();
        assert!(f.to_string().contains("`Update` memory, with zeros written to it"), "{f}");
        m.write(y, &[0; 4]).unwrap();
        m.launch(&module, kernel, &Launch::new([1; 3], [1; 3], vec![Arg::Update { addr: y, len: 4 }])).unwrap();
        assert_eq!(m.bytes(y, 4).unwrap(), 1u32.to_le_bytes());
    }
}

#[test]
fn memory_as_it_was() {
    let module = module(
        ".global .align 4 .u32 count = 3;
        .visible .entry k(.param .u64 y) { .reg .b64 %p; .reg .b32 %r;
        ld.param.u64 %p, [y]; ld.global.u32 %r, [count]; add.u32 %r, %r, 1;
        st.global.u32 [count], %r; st.global.u32 [%p], %r; ret; }",
    );
    let mut m = Machine::new(Config::default());
    let y = m.alloc("y", 8);
    let before = m.snapshot(&module);
    let launch = Launch::new([1; 3], [1; 3], vec![Arg::Write { addr: y, len: 8 }]);
    for _ in 0..2 {
        m.launch(&module, "k", &launch).unwrap();
        assert_eq!(m.bytes(y, 4).unwrap(), 4u32.to_le_bytes());
        assert!(m.initialised(y, 4).unwrap());
        m.restore(&before);
        assert!(!m.initialised(y, 4).unwrap());
    }
}
