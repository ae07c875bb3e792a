//! Programs of others that the grammar once refused, and that what is not understood costs one kernel only.

use lae_ptx::*;

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

fn parse(text: &str) -> Module {
    Module::parse("foreign.ptx", &format!("{HEAD}{text}")).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The word that a kernel writes whose parameters are all pointers; the last one is `out`.
fn word(module: &Module, kernel: &str) -> Result<u32, Fault> {
    let mut m = Machine::new(Config::default());
    let out = m.alloc("out", 4);
    let entry = module.entry(kernel).unwrap_or_else(|| panic!("no {kernel}"));
    let mut args = vec![Arg::Null; entry.params.len()];
    if let Some(last) = args.last_mut() {
        *last = Arg::Write { addr: out, len: 4 };
    }
    m.launch(module, kernel, &Launch { grid: [1; 3], block: [1, 1, 1], shared: 0, args, ..Launch::default() })?;
    Ok(u32::from_le_bytes(m.bytes(out, 4).unwrap().try_into().unwrap()))
}

/// Half functions of CUDA's own header declare registers without a blank.
#[test]
fn registers_without_a_blank() {
    let module = parse(
        ".visible .entry blankless(.param .u64 out)
        {
            .reg .b64 %a;
            ld.param.u64 %a, [out];
            { .reg.b32 t, u;
              mov.b32 t, 40;
              add.u32 u, t, 2;
              st.global.u32 [%a], u; }
            ret;
        }",
    );
    assert_eq!(word(&module, "blankless").unwrap(), 42);
}

#[test]
fn a_texture_beside_an_innocent_kernel() {
    let module = parse(
        ".visible .entry samples(.param .u64 texture, .param .u64 out)
        {
            .reg .b64 %t, %o;
            .reg .f32 %f<8>;
            ld.param.u64 %t, [texture];
            ld.param.u64 %o, [out];
            mov.f32 %f1, 0f3F000000;
            tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%t, {%f1, %f1}];
            st.global.f32 [%o], %f2;
            ret;
        }
        .visible .entry innocent(.param .u64 out)
        {
            .reg .b64 %o;
            ld.param.u64 %o, [out];
            st.global.u32 [%o], 7;
            ret;
        }",
    );
    assert_eq!(word(&module, "innocent").unwrap(), 7);
    let f = word(&module, "samples").unwrap_err();
    assert_eq!(f.kind.name(), "unsupported");
    let text = f.to_string();
    for words in [
        "foreign.ptx:11: kernel `samples`: instruction `tex.2d.v4.f32.f32` is not supported",
        "tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%t, {%f1, %f1}]",
    ] {
        assert!(text.contains(words), "no `{words}` in: {text}");
    }
}

#[test]
fn functions_with_register_parameters() {
    let module = parse(
        ".func (.reg .b32 y) twice(.reg .b32 x)
        {
            add.u32 y, x, x;
            ret;
        }
        .visible .entry calls(.param .u64 out)
        {
            .reg .b64 %o;
            .reg .b32 %r<3>;
            ld.param.u64 %o, [out];
            mov.u32 %r1, 21;
            call (%r2), twice, (%r1);
            st.global.u32 [%o], %r2;
            ret;
        }",
    );
    assert_eq!(word(&module, "calls").unwrap(), 42);
}

/// A kernel that writes 7, to stand beside what is not understood.
const INNOCENT: &str = ".visible .entry innocent(.param .u64 out)
{ .reg .b64 %o; ld.param.u64 %o,[out]; st.global.u32 [%o],7; ret; }\n";

/// A kernel with this body.
fn kernel(body: &str) -> String {
    format!(
        ".visible .entry k(.param .u64 out)\n{{ .reg .b64 %o,%d; .reg .b32 %r<4>; .reg .f32 %f<4>; .reg .pred %p<2>;
        ld.param.u64 %o,[out];\n{body}\nst.global.u32 [%o],1; ret; }}\n"
    )
}

#[test]
fn what_is_not_understood_costs_one_kernel() {
    let called = |f: &str| format!("{f}\n{}", kernel("call f;"));
    for (text, words) in [
        // Statements.
        (
            kernel("frobnicate.u32 %r1, <%r2>;"),
            "kernel `k`: instruction `frobnicate.u32` is not supported\n    frobnicate.u32 %r1, <%r2>;",
        ),
        (
            kernel("add.u32 %r1, %r2 %r3;"),
            "foreign.ptx:7: kernel `k`: expected `,` or `;`, found `%r3;`\n    add.u32 %r1, %r2 %r3;",
        ),
        (kernel("add.u32 %r1, %r2,;"), "expected an operand, found `;`"),
        (kernel("mov.u32 %r1, (1+2;"), "expected `)`"),
        (kernel("mov.u32 %r1, 1/0;"), "division by zero"),
        (kernel("mov.u32 %r1, 08;"), "`08` is not a number"),
        (kernel("mov.b64 {%r1, %r2, %o;"), "expected `}`"),
        (kernel("st.global.v2.u32 [%o], {%r1, _};"), "a store has no `_`"),
        (kernel("mov.b64 {%r1, %r2}}, %o;"), "expected `,` or `;`"),
        (kernel("sured.b.2d.add.u32.trap [%o,{%r1,%r2}], %r3;"), "instruction `sured.b.2d.add.u32.trap` is not supported"),
        (kernel("ld.global.u32 %r1, [\"text\"];"), "not a number"),
        (kernel("@%r1 bra X; X:"), "guard `%r1` is not a predicate register\n    @%r1 bra X;"),
        (kernel("bra NOWHERE;"), "branch to `NOWHERE`, which is no label of `k`"),
        (kernel("L: L: mov.u32 %r1,1;"), "label `L` is defined twice"),
        (kernel("mov.u32 %r1, é;"), "expected an operand, found `é;`"),
        (kernel("mov.u32 %r1, %tid.x.y;"), "special register `%tid.x.y` is not supported"),
        (kernel("T: .branchtargets NONE; brx.idx %r1,T;"), "a label of the table is no label of `k`"),
        (kernel("brx.idx %r1,T;"), "expected the label of `.branchtargets`"),
        (kernel("mov.u64 %d,k; call %d,();"), "needs the label of a `.callprototype` or of `.calltargets`"),
        (kernel("P: .callprototype (.pram .b32 _) _;"), "expected `.param` or `.reg`, found `.pram`"),
        // Directives of a body.
        (kernel(".reg .b99 q;"), "registers of type `.b99` are not supported\n    .reg .b99 q;"),
        (kernel(".reg .b32 %r<4>;"), "`%r` is declared twice"),
        (kernel(".reg .b32 a; .reg .b64 a;"), "`a` is declared twice"),
        (
            kernel(".unheard { of; this } mov.u32 %r1,1;"),
            "directive `.unheard` in `k` is not supported\n    .unheard { of; this }",
        ),
        (kernel(".shared .align 3 .b32 s;"), "alignment 3 is no power of two"),
        (kernel(".shared .b32 s = 1;"), "only global and constant variables have initial values"),
        (kernel(".local .b8 huge[600000]; mov.u32 %r1,huge;"), "more than 524288 bytes of local variables"),
        (kernel(".local .b8 huge[99999999999];"), "variable `huge` is too large"),
        (kernel(".reg .b32 r<99999999999>;"), "is too large"),
        (kernel(&"{".repeat(300)) + &"}".repeat(300), "nests its braces too deep"),
        // Signatures.
        (".entry k(.param .u99 x) { ret; }".into(), "foreign.ptx:4: kernel `k`: `.u99` in a declaration is not supported"),
        (".entry k(.param .u64 x) .unheard 5 {{ ret; }}".into(), "directive `.unheard` of function `k` is not supported"),
        (".entry k(.param .b8 x[40000]) { ret; }".into(), "`k` has 40000 bytes of parameters; a kernel may have 32764"),
        (".entry k(.param .u64 x) { ret;".into(), "`k` does not end: another declaration begins inside, a brace is missing"),
        (".entry k() { ret; } .entry k() { ret; }".into(), "`k` is defined twice, in lines 4 and 4"),
        // Functions that the kernel calls.
        (called(".func f() { frobnicate; ret; }"), "in function `f`: instruction `frobnicate` is not supported"),
        (called(".func f(.pram .b32 x) { ret; }"), "call of `f`, line 4: expected `.param` or `.reg`, found `.pram`"),
        (called(".func f(.reg .pred x) { ret; }"), "predicates as parameters are not supported"),
        (called(".func f(.reg .b32 x) { ret; }"), "f takes 1 parameters and returns 0 values"),
        (called(".extern .func f();"), "call of the external function `f` is not supported"),
        (kernel("call f;"), "call of `f`, which is not in the module"),
        (kernel("call k;"), "call of `k`, which is not in the module"),
        (called(".func f() { ret; } .func f() { trap; }"), "`f` is defined twice"),
        // Variables and other declarations of the module.
        (
            format!(".global .texref t;\n{}", kernel("mov.u64 %d,t;")),
            "`t` stands in line 4, which is not understood: `.texref` in a",
        ),
        (format!(".unheard g 5;\n{}", kernel("ld.global.u32 %r1,[g];")), "directive `.unheard` is not supported at module scope"),
        (format!(".global .b32 g[2]={{1,2,3}};\n{}", kernel("ld.global.u32 %r1,[g];")), "too many initial values for `g`"),
        (format!(".global .f32 g=1;\n{}", kernel("ld.global.u32 %r1,[g];")), "an initial value does not have the type `.f32`"),
        (
            format!(".global .b8 g={{h}};\n{}", kernel("ld.global.u32 %r1,[g];")),
            "`g` has elements of type `.b8`, which take no address as of `h`",
        ),
        (format!(".global .b32 g=1;.global .b32 g=2;\n{}", kernel("ld.global.u32 %r1,[g];")), "`g` is defined twice"),
        (
            format!(".extern .global .b32 g;\n{}", kernel("ld.global.u32 %r1,[g];")),
            "`g` is declared `.extern`, and this text defines it nowhere",
        ),
        (kernel("ld.global.u32 %r1,[nothing];"), "`nothing` is not a register, variable or known special register"),
        (kernel("ld.global.u32 %r1,nothing[2];"), "`nothing` is no array that was declared before"),
        (format!(".global .b32 g;\n{}", kernel("ld.global.u32 %r1,g[2];")), "`g` is no array"),
    ] {
        for text in [format!("{INNOCENT}{text}"), format!("{text}\n{INNOCENT}"), format!("{text}{INNOCENT}")] {
            // A kernel without its brace must have somebody behind it.
            if text.ends_with("{ ret;") {
                continue;
            }
            let module = parse(&text);
            assert_eq!(word(&module, "innocent").unwrap_or_else(|f| panic!("{f}\n{text}")), 7, "{text}");
            let check = module.check();
            let refused: Vec<String> = check.iter().filter_map(|(_, r)| r.as_ref().err()).map(|e| e.to_string()).collect();
            assert!(!refused.is_empty(), "not refused: {text}");
            for e in &refused {
                let lines: String = words.replace("foreign.ptx:4", "").replace("foreign.ptx:7", "");
                let words = if text.starts_with(INNOCENT) { lines.split(": kernel").last().unwrap() } else { words };
                let words =
                    words.replace(", line 4", ", line ").replace("in line 4", "in line ").replace("lines 4 and 4", "lines ");
                let e = e.replace(", line 4", ", line ").replace(", line 6", ", line ").replace("in line 4", "in line ");
                let e = e.replace("in line 6", "in line ").replace("lines 4 and 4", "lines ").replace("lines 6 and 6", "lines ");
                assert!(e.contains(&words), "no `{words}` in: {e}\n{text}");
                assert!(e.starts_with("foreign.ptx:") && e.contains(": kernel `k`: "), "{e}");
            }
        }
    }
}

/// Whatever stands between two kernels costs neither of them.
#[test]
fn unknown_text_of_the_module() {
    let first = INNOCENT.replace("innocent", "first");
    for (text, unread) in [
        (".unheard of;", 1),
        (".unheard", 1),
        (".unheard .visible;", 1),
        (".unheard { a; b { c } }", 1),
        (".unheard \"a;{\" of;", 1),
        (".global .texref t;", 1),
        (".texref t; .samplerref s; .surfref u;", 3),
        (".tex .u32 t;", 1),
        (".global .b128 wide;", 0),
        (".global .v8 .f32 wide;", 1),
        (".reg .b32 r;", 1),
        ("}", 1),
        ("word;", 1),
        (";", 1),
        ("é", 1),
        (".alias a, b;", 0),
        (".alias a b;", 1),
        (".language \"c\";", 1),
        (".section .debug_abbrev { .b8 1 .b32 4 .b64 -(1+2) ! }", 0),
        (".section\t.debug_loc\t{\t}", 0),
        ("@@DWARF .section .debug_pubnames, \"\", @progbits\n@@DWARF .byte 0x2b,0x00", 0),
        (".file 1 \"a.cu\"\n.file 2 \"b.cu\", 12, 4", 0),
        (".pragma \"a\", \"b\";", 0),
        (".func f(.reg .b32", 0),
        (".entry", 1),
    ] {
        let module = parse(&format!("{first}{text}\n{INNOCENT}"));
        assert_eq!(module.unread().len(), unread, "{text}: {:?}", module.unread());
        for kernel in ["first", "innocent"] {
            assert_eq!(word(&module, kernel).unwrap_or_else(|f| panic!("{f}\n{text}")), 7, "{text}");
        }
    }
    let module = parse(&format!("{first}.unheard of;\n"));
    assert_eq!(
        module.unread()[0].to_string(),
        "foreign.ptx:6: directive `.unheard` is not supported at module scope\n    .unheard of;"
    );
}

/// A function that only its address leads to need not be understood: the call is the fault.
#[test]
fn calls_that_go_wrong() {
    let functions = ".func (.reg .b32 y) good(.reg .b32 x) { add.u32 y,x,1; ret; }
        .func (.reg .b32 y) bad(.reg .b32 x) { frobnicate y,x; ret; }
        .func (.reg .b32 y) worse(.reg .b32 x) { call (y),bad,(x); ret; }
        .func (.reg .b64 y) other(.reg .b32 x) { cvt.u64.u32 y,x; ret; }
        .global .u64 table[4]={good,bad,worse,other};\n";
    let call = |which: &str| {
        let body = format!(
            "P: .callprototype (.reg .b32 _) _ (.reg .b32 _); {which}; call (%r1),%d,(6),P; st.global.u32 [%o],%r1; ret;"
        );
        word(&parse(&format!("{functions}{}", kernel(&body))), "k").map_err(|f| (f.kind.name(), f.to_string()))
    };
    assert_eq!(call("mov.u64 %d,good"), Ok(7));
    assert_eq!(call("ld.global.u64 %d,[table]"), Ok(7));
    for (which, kind, words) in [
        ("ld.global.u64 %d,[table+8]", "unsupported", "in function `bad`: instruction `frobnicate` is not supported"),
        ("mov.u64 %d,worse", "unsupported", "in function `bad`: instruction `frobnicate` is not supported"),
        ("mov.u64 %d,other", "operand", "`other` is not among the targets, or has other parameters"),
        ("mov.u64 %d,0", "operand", "call of 0x0: no function has this address"),
        ("mov.u64 %d,good+4", "operand", "no function has this address"),
        ("mov.u64 %d,good+1600", "operand", "no function has this address"),
        ("mov.u64 %d,table", "operand", "no function has this address"),
        (".reg .b64 never; mov.u64 %d,never", "uninitialised", "uninitialised value used as the address of a call"),
    ] {
        let (got, text) = call(which).expect_err(which);
        assert!(got == kind && text.contains(words), "{which}: {text}");
    }
    let f = word(&parse(&kernel("mov.u64 %d,f; ld.u32 %r1,[%d];").replace(".visible", ".func f(){ret;}\n.visible")), "k")
        .unwrap_err();
    assert!(f.to_string().contains("out of bounds") && f.to_string().contains("among the addresses of functions"), "{f}");
    let f = word(&parse(&kernel("T: .branchtargets A,B; mov.u32 %r1,2; brx.idx %r1,T; A: B:")), "k").unwrap_err();
    assert!(f.to_string().contains("index 2 of a jump table that has 2 targets"), "{f}");
    let f = word(&parse(&kernel("T: .branchtargets A,B; .reg .b32 never; brx.idx never,T; A: B:")), "k").unwrap_err();
    assert!(f.to_string().contains("uninitialised value used as a branch condition"), "{f}");
    let deep = ".func f(){ .local .b8 much[100000]; .reg .b32 r; mov.u32 r,much; call f; ret; }\n";
    assert_eq!(word(&parse(&format!("{deep}{}", kernel("call f;"))), "k").unwrap_err().kind.name(), "stack-overflow");
}

/// Lanes of a warp that jump by a table, or call through a register, to different places.
#[test]
fn lanes_part_and_meet() {
    let module = parse(
        ".func (.reg .b32 y) add3(.reg .b32 x) { add.u32 y,x,3; ret; }
        .func (.reg .b32 y) twice(.reg .b32 x) { .reg .b32 t; mov.b32 t,x; add.u32 y,t,x; ret; }
        .func (.reg .b32 y) fac(.reg .b32 x) { .reg .pred p; .reg .b32 t; mov.b32 y,1; setp.eq.u32 p,x,0; @p ret;
            sub.u32 t,x,1; call (y),fac,(t); mul.lo.u32 y,y,x; ret; }
        .const .u64 table[3]={add3,twice,fac};
        .visible .entry k(.param .u64 out)
        {
            .reg .b64 %o,%d,%c; .reg .b32 %t,%r<5>;
            ld.param.u64 %o,[out];
            mov.u32 %t,%tid.x;
            mad.wide.u32 %o,%t,4,%o;
            rem.u32 %r1,%t,3;
            mov.u64 %c,table;
            mad.wide.u32 %c,%r1,8,%c;
            ld.const.u64 %d,[%c];
            mov.u32 %r4,0;
        P:  .callprototype (.reg .b32 _) _ (.reg .b32 _);
        T:  .branchtargets A,B,DONE;
            and.b32 %r2,%t,7;
            call (%r2),%d,(%r2),P;
            // Twice round, through a jump back.
        A:  add.u32 %r4,%r4,1;
            min.u32 %r3,%r4,2;
            sub.u32 %r3,%r3,1;
            brx.idx %r3,T;
        B:  add.u32 %r4,%r4,%r1;
            bra DONE;
        DONE:
            mad.lo.u32 %r2,%r4,1000,%r2;
            st.global.u32 [%o],%r2;
            bar.warp.sync -1;
            ret;
        }",
    );
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(3)] {
        let mut m = Machine::new(Config { schedule, counters: true, ..Config::default() });
        let out = m.alloc("out", 128);
        let args = vec![Arg::Write { addr: out, len: 128 }];
        m.launch(&module, "k", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() }).unwrap();
        for t in 0..32u32 {
            let at = out + 4 * t as u64;
            let got = u32::from_le_bytes(m.bytes(at, 4).unwrap().try_into().unwrap());
            let x = t & 7;
            let f = [x + 3, 2 * x, (1..=x).product()][t as usize % 3];
            assert_eq!(got, 1000 * (2 + t % 3) + f, "thread {t}");
        }
    }
}
