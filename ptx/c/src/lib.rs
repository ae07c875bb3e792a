//! The C interface of the emulator; `include/lae_ptx.h` says what each function does.
//!
//! Every function that takes a pointer trusts its caller for what the header asks: that the pointer came from the function that
//! makes such things and was not freed, that texts end with a zero, that data have the length given. Each `unsafe` block below
//! relies on that and on nothing else. Nothing unwinds into C: a panic becomes an error.

// Functions with a C interface cannot be marked as what they are, and the header documents them.
#![allow(clippy::missing_safety_doc, clippy::not_unsafe_ptr_arg_deref)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};

use lae_ptx::tensor_map::{Cut, ElementType, Swizzle};
use lae_ptx::{Approx, Arg, Config, Copies, FaultKind, Fences, Launch, Machine, Module, Schedule, Tensor, TensorMap, Truncation};

pub struct LaeModule {
    module: Module,
    names: Vec<CString>,
}

#[derive(Default)]
struct Last {
    kind: CString,
    text: CString,
    instructions: u64,
}

pub struct LaeMachine {
    machine: Machine,
    last: Last,
}

pub struct LaeLaunch(Launch);

thread_local! {
    static ERROR: RefCell<CString> = RefCell::default();
}

/// Text for C: a zero inside it would end it there, and becomes a blank.
fn c_text(text: impl Into<String>) -> CString {
    CString::new(text.into().replace('\0', " ")).expect("zeros were replaced")
}

/// Runs `f`. Its error, or a panic, is kept for [`lae_error`], and `failed` returned.
fn guarded<T>(failed: T, f: impl FnOnce() -> Result<T, String>) -> T {
    let result =
        catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err("a panic inside the emulator: please report it".into()));
    result.unwrap_or_else(|why| {
        ERROR.with(|e| *e.borrow_mut() = c_text(why));
        failed
    })
}

fn ok(f: impl FnOnce() -> Result<(), String>) -> c_int {
    guarded(0, || f().map(|()| 1))
}

fn text<'a>(p: *const c_char, what: &str) -> Result<&'a str, String> {
    if p.is_null() {
        return Err(format!("the {what} is a null pointer"));
    }
    // SAFETY: the caller passes a text that ends with a zero and outlives the call.
    unsafe { CStr::from_ptr(p) }.to_str().map_err(|_| format!("the {what} is not UTF-8"))
}

fn bytes<'a>(p: *const c_void, len: usize) -> Result<&'a [u8], String> {
    if len == 0 {
        return Ok(&[]);
    }
    if p.is_null() {
        return Err("the data are a null pointer".into());
    }
    // SAFETY: the caller passes `len` bytes that outlive the call.
    Ok(unsafe { std::slice::from_raw_parts(p.cast(), len) })
}

fn by_ref<'a, T>(p: *const T) -> Result<&'a T, String> {
    // SAFETY: the caller passes what the constructor of the type gave and has not freed it.
    unsafe { p.as_ref() }.ok_or_else(|| "a null pointer instead of a module, a machine or a launch".into())
}

fn by_mut<'a, T>(p: *mut T) -> Result<&'a mut T, String> {
    // SAFETY: the caller passes what the constructor of the type gave, has not freed it, and uses it in one thread at a time.
    unsafe { p.as_mut() }.ok_or_else(|| "a null pointer instead of a module, a machine or a launch".into())
}

fn free<T>(p: *mut T) {
    if !p.is_null() {
        // SAFETY: the pointer came from `Box::into_raw` in a constructor here, and the caller frees it once.
        drop(unsafe { Box::from_raw(p) });
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_error() -> *const c_char {
    ERROR.with(|e| e.borrow().as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_parse(name: *const c_char, ptx: *const c_char, length: usize) -> *mut LaeModule {
    guarded(null_mut(), || {
        let name = text(name, "name")?;
        let ptx = std::str::from_utf8(bytes(ptx.cast(), length)?).map_err(|_| format!("{name}: is not text"))?;
        let module = Module::parse(name, ptx).map_err(|e| e.to_string())?;
        let names = module.entries().iter().map(|e| c_text(e.name.clone())).collect();
        Ok(Box::into_raw(Box::new(LaeModule { module, names })))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_free(module: *mut LaeModule) {
    free(module);
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_kernels(module: *const LaeModule) -> usize {
    guarded(0, || Ok(by_ref(module)?.names.len()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_kernel(module: *const LaeModule, i: usize) -> *const c_char {
    guarded(null(), || Ok(by_ref(module)?.names.get(i).map_or(null(), |n| n.as_ptr())))
}

fn entry<'a>(m: &'a Module, kernel: &str) -> Result<&'a lae_ptx::Entry, String> {
    m.entry(kernel).ok_or_else(|| format!("{}: no kernel `{kernel}`", m.name()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_parameters(module: *const LaeModule, kernel: *const c_char) -> c_int {
    guarded(-1, || Ok(entry(&by_ref(module)?.module, text(kernel, "name of the kernel")?)?.params.len() as c_int))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_parameter_size(module: *const LaeModule, kernel: *const c_char, i: usize) -> c_int {
    guarded(-1, || {
        let e = entry(&by_ref(module)?.module, text(kernel, "name of the kernel")?)?;
        let p = e.params.get(i).ok_or_else(|| format!("`{}` has {} parameters", e.name, e.params.len()))?;
        Ok(p.size as c_int)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_module_check(module: *const LaeModule, kernel: *const c_char) -> c_int {
    ok(|| {
        let m = &by_ref(module)?.module;
        m.shared(entry(m, text(kernel, "name of the kernel")?)?).map(|_| ()).map_err(|e| e.to_string())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_machine_new() -> *mut LaeMachine {
    guarded(null_mut(), || {
        let machine = Machine::new(Config::default());
        Ok(Box::into_raw(Box::new(LaeMachine { machine, last: Last::default() })))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_machine_free(machine: *mut LaeMachine) {
    free(machine);
}

/// `on` or `off`.
fn switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{key} = `{value}`: it is on or off")),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{key} = `{value}`: not a number of its range"))
}

fn set(c: &mut Config, key: &str, value: &str) -> Result<(), String> {
    match key {
        "schedule" => {
            c.schedule = match (value, value.strip_prefix("random:")) {
                ("forward", _) => Schedule::Forward,
                ("reverse", _) => Schedule::Reverse,
                (_, Some(seed)) => Schedule::Random(number(key, seed)?),
                _ => return Err(format!("schedule = `{value}`: it is forward, reverse or random:SEED")),
            }
        }
        "init" => c.checks.init = switch(key, value)?,
        "race" => c.checks.race = switch(key, value)?,
        "tf32" => c.checks.tf32 = switch(key, value)?,
        "fences" => {
            c.fences = match value {
                "usual" => Fences::Usual,
                "all" => Fences::All,
                _ => return Err(format!("fences = `{value}`: it is usual or all")),
            }
        }
        "truncation" => {
            c.truncation = match value {
                "recognised" => Truncation::Recognised,
                "never" => Truncation::Never,
                _ => return Err(format!("truncation = `{value}`: it is recognised or never")),
            }
        }
        "tensor" => {
            c.tensor = match value {
                "ideal" => Tensor::Ideal,
                "ampere" => Tensor::Ampere,
                "hopper" => Tensor::Hopper,
                _ => return Err(format!("tensor = `{value}`: it is ideal, ampere or hopper")),
            }
        }
        "perturb" => c.approx = if value == "off" { Approx::Central } else { Approx::Within(number(key, value)?) },
        "copies" => {
            c.copies = match value {
                "late" => Copies::Late,
                "eager" => Copies::Eager,
                _ => return Err(format!("copies = `{value}`: it is late or eager")),
            }
        }
        "counters" => c.counters = switch(key, value)?,
        "budget" => c.budget = number(key, value)?,
        "threads" => c.threads = number(key, value)?,
        "resident" => c.resident = Some(number(key, value)?),
        "max_shared" => c.max_shared = number(key, value)?,
        _ => {
            return Err(format!(
                "no key `{key}`; there are schedule, init, race, tf32, truncation, fences, tensor, perturb, copies, counters, budget, \
                 threads, resident, max_shared"
            ));
        }
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_machine_set(machine: *mut LaeMachine, key: *const c_char, value: *const c_char) -> c_int {
    ok(|| set(by_mut(machine)?.machine.config_mut(), text(key, "key")?, text(value, "value")?))
}

/// More than this is a mistake: an address space of the host has hardly more.
const MOST: u64 = 1 << 40;

#[unsafe(no_mangle)]
pub extern "C" fn lae_alloc(machine: *mut LaeMachine, name: *const c_char, size: u64) -> u64 {
    guarded(0, || {
        let (machine, name) = (by_mut(machine)?, text(name, "name")?);
        let room = usize::try_from(size).ok().filter(|_| size < MOST);
        // What cannot be had is an error here; an allocation that fails later would end the process.
        let had = room.is_some_and(|n| Vec::<u8>::new().try_reserve_exact(n).is_ok());
        if !had {
            return Err(format!("`{name}`: no memory of {size} bytes"));
        }
        Ok(machine.machine.alloc(name, size))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_free(machine: *mut LaeMachine, address: u64) -> c_int {
    ok(|| by_mut(machine)?.machine.free(address).map_err(|e| e.to_string()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_write(machine: *mut LaeMachine, address: u64, data: *const c_void, size: u64) -> c_int {
    ok(|| by_mut(machine)?.machine.write(address, bytes(data, size as usize)?).map_err(|e| e.to_string()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_read(machine: *const LaeMachine, address: u64, data: *mut c_void, size: u64) -> c_int {
    ok(|| {
        let from = by_ref(machine)?.machine.bytes(address, size).map_err(|e| e.to_string())?;
        if data.is_null() && size > 0 {
            return Err("the data are a null pointer".into());
        }
        // SAFETY: the caller passes room for `size` bytes; it is not the machine's memory, which it cannot reach.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), data.cast(), from.len()) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_initialised(machine: *const LaeMachine, address: u64, size: u64) -> c_int {
    guarded(-1, || by_ref(machine)?.machine.initialised(address, size).map(c_int::from).map_err(|e| e.to_string()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_symbol(machine: *mut LaeMachine, module: *const LaeModule, name: *const c_char, size: *mut u64) -> u64 {
    guarded(0, || {
        let (machine, module, name) = (by_mut(machine)?, &by_ref(module)?.module, text(name, "name")?);
        let (address, bytes) =
            machine.machine.symbol(module, name).ok_or_else(|| format!("{}: no variable `{name}`", module.name()))?;
        // SAFETY: the caller passes room for a number, or null.
        if let Some(size) = unsafe { size.as_mut() } {
            *size = bytes as u64;
        }
        Ok(address)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_launch_new(grid: *const u32, block: *const u32, shared: u32) -> *mut LaeLaunch {
    guarded(null_mut(), || {
        // SAFETY: the caller passes three numbers each.
        let three = |p: *const u32| unsafe { p.cast::<[u32; 3]>().as_ref() }.copied().ok_or("grid or block is a null pointer");
        let launch = Launch::new(three(grid)?, three(block)?, Vec::new()).shared(shared);
        Ok(Box::into_raw(Box::new(LaeLaunch(launch))))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_launch_free(launch: *mut LaeLaunch) {
    free(launch);
}

fn pointer(access: c_int, addr: u64, len: u64) -> Result<Arg, String> {
    Ok(match access {
        0 => Arg::Read { addr, len },
        1 => Arg::Write { addr, len },
        2 => Arg::Update { addr, len },
        _ => return Err(format!("access {access}: it is LAE_READ, LAE_WRITE or LAE_UPDATE")),
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_arg_pointer(launch: *mut LaeLaunch, access: c_int, address: u64, size: u64) -> c_int {
    ok(|| {
        let arg = pointer(access, address, size)?;
        by_mut(launch)?.0.args.push(arg);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_arg_null(launch: *mut LaeLaunch) -> c_int {
    ok(|| {
        by_mut(launch)?.0.args.push(Arg::Null);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_arg_value(launch: *mut LaeLaunch, value: *const c_void, size: usize) -> c_int {
    ok(|| {
        let value = bytes(value, size)?.to_vec();
        by_mut(launch)?.0.args.push(Arg::Bytes(value));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_arg_inside(launch: *mut LaeLaunch, offset: usize, access: c_int, address: u64, size: u64) -> c_int {
    ok(|| {
        let inside = (u32::try_from(offset).map_err(|_| "the offset is too large")?, pointer(access, address, size)?);
        let last = by_mut(launch)?.0.args.last_mut().ok_or("there is no argument yet")?;
        match last {
            Arg::Struct { pointers, .. } => pointers.push(inside),
            Arg::Bytes(b) => *last = Arg::Struct { bytes: std::mem::take(b), pointers: vec![inside] },
            _ => return Err("the last argument is a pointer, not a struct".into()),
        }
        Ok(())
    })
}

/// `struct lae_tensor_map` of the header.
#[repr(C)]
pub struct LaeTensorMap {
    address: u64,
    element: u32,
    rank: u32,
    dims: [u64; 5],
    strides: [u64; 4],
    steps: [u32; 5],
    swizzle: u32,
    nan: u32,
    im2col: u32,
    sides: [u32; 5],
    lower: [i32; 3],
    upper: [i32; 3],
    channels: u32,
    pixels: u32,
}

impl LaeTensorMap {
    fn map(&self) -> Result<TensorMap, String> {
        let rank = self.rank as usize;
        if !(1..=5).contains(&rank) {
            return Err(format!("a tensor of {rank} dimensions; it must have 1 to 5"));
        }
        let element = ElementType::numbered(self.element).ok_or_else(|| format!("type {}: it is 0 to 12", self.element))?;
        let swizzle = match self.swizzle {
            0 => Swizzle::None,
            32 => Swizzle::B32,
            64 => Swizzle::B64,
            128 => Swizzle::B128,
            n => return Err(format!("swizzle {n}: it is 0, 32, 64 or 128")),
        };
        let corners = |c: &[i32; 3]| c[..rank.saturating_sub(2)].to_vec();
        let cut = match self.im2col {
            0 => Cut::Tiled(self.sides[..rank].to_vec()),
            _ => Cut::Im2col {
                lower: corners(&self.lower),
                upper: corners(&self.upper),
                channels: self.channels,
                pixels: self.pixels,
            },
        };
        let map = TensorMap {
            element,
            address: self.address,
            dims: self.dims[..rank].to_vec(),
            strides: self.strides[..rank - 1].to_vec(),
            cut,
            // What is left zero is 1.
            steps: self.steps[..rank].iter().map(|&s| s.max(1)).collect(),
            swizzle,
            nan: self.nan != 0,
        };
        map.check().map(|()| map)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_arg_tensor_map(launch: *mut LaeLaunch, map: *const LaeTensorMap, store: c_int) -> c_int {
    ok(|| {
        let map = by_ref(map)?.map()?;
        by_mut(launch)?.0.args.push(Arg::Map { map, write: store != 0 });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_also(launch: *mut LaeLaunch, access: c_int, address: u64, size: u64) -> c_int {
    ok(|| {
        let arg = pointer(access, address, size)?;
        by_mut(launch)?.0.also.push(arg);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_run(
    machine: *mut LaeMachine,
    module: *const LaeModule,
    kernel: *const c_char,
    launch: *const LaeLaunch,
) -> c_int {
    const WRONG_CALL: c_int = 2;
    guarded(WRONG_CALL, || {
        let (machine, module, launch) = (by_mut(machine)?, &by_ref(module)?.module, &by_ref(launch)?.0);
        let kernel = text(kernel, "name of the kernel")?;
        machine.last = Last::default();
        match machine.machine.launch(module, kernel, launch) {
            Ok(report) => {
                machine.last.instructions = report.instructions;
                Ok(0)
            }
            Err(fault) => {
                let instructions = fault.executed;
                machine.last = Last { kind: c_text(fault.kind.name()), text: c_text(fault.to_string()), instructions };
                let wrong = matches!(fault.kind, FaultKind::Launch { .. } | FaultKind::Unsupported { .. });
                Ok(if wrong { WRONG_CALL } else { 1 })
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_report(machine: *const LaeMachine) -> *const c_char {
    guarded(c"".as_ptr(), || Ok(by_ref(machine)?.last.text.as_ptr()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_report_kind(machine: *const LaeMachine) -> *const c_char {
    guarded(c"".as_ptr(), || Ok(by_ref(machine)?.last.kind.as_ptr()))
}

#[unsafe(no_mangle)]
pub extern "C" fn lae_report_instructions(machine: *const LaeMachine) -> u64 {
    guarded(0, || Ok(by_ref(machine)?.last.instructions))
}
