//! [`Driver`] over cudarc: an NVIDIA GPU.
//!
//! Everything happens in order on one non-blocking stream, except the way of uploads to the GPU: they travel on a second stream
//! into staging memory while the first one computes, and are copied to their places in order (see `Staging`). cudarc's
//! event tracking is off and its slices are not used: the order of the first stream is the order of the program.
//!
//! cudarc's safe layer holds the context, the streams, the events and the graphs; memory, modules and launches go through its
//! `result` layer, since their arguments are known at run time only. What `result` asks of its callers is checked here for every
//! call: spans lie in live memory of this device, arguments have the sizes that the PTX states, handles live as long as `Shared`.
//!
//! One risk is left, and is cudarc's: its `CUresult` is a Rust enum of CUDA 12.0's codes, and a newer driver may know more. Of those
//! added since, 226 (a contained fault) and 721 can only follow a kernel that went wrong.
//!
//! [`super::probe`] must have said that there is a driver: without one, cudarc panics.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard};

use cudarc::driver::sys::{self, CUfunction, CUmodule, CUresult};
use cudarc::driver::{CudaContext, CudaEvent, CudaGraph, CudaStream, DriverError, result};

use super::kernels::{self, Cubin, Module};
use super::{Arg, Driver, Hopper, Launch, Mem, Replay, Span, TensorMap, codes};
use crate::error::{Error, Result};
use crate::ptx::tensor_map::{Cut, Swizzle};

/// Blocks begin at multiples of this many bytes.
const ALIGN: usize = 256;

/// One GPU.
pub struct Cuda(Arc<Shared>);

/// What recorded graphs share with their driver.
struct Shared {
    /// `cuda:0`
    name: String,
    /// 90 for sm_90.
    arch: u32,
    /// `LAE_SM90A=off` leaves the kernels for sm_90a aside, to compare both or where they do not work; `always` takes them wherever
    /// sizes allow it.
    hopper: Option<Hopper>,
    /// Shared memory that a block may have if it asks for it, in bytes.
    shared_limit: u32,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Never used twice, so that a stale [`Mem`] is an error and not another's memory.
    numbers: u64,
    blocks: HashMap<Mem, Block>,
    /// Live blocks of each allocation, by its address.
    arenas: HashMap<u64, usize>,
    modules: HashMap<&'static str, Loaded<CUmodule>>,
    functions: HashMap<&'static str, Function>,
    staging: Staging,
    /// Launches noted by [`Driver::record`], while it runs.
    recording: Option<Vec<Launch>>,
}

#[derive(Clone, Copy)]
struct Block {
    address: u64,
    len: usize,
    /// The allocation that it is part of.
    arena: u64,
}

/// A handle of the driver's.
#[derive(Clone, Copy)]
struct Loaded<T>(T);

// SAFETY: handles of modules and functions are names that the driver looks up; any thread may use them in the right context,
// which every call here sets (`CudaContext::bind_to_thread`).
unsafe impl<T> Send for Loaded<T> {}

struct Function {
    handle: Loaded<CUfunction>,
    /// Dynamic shared memory that launches may have so far.
    shared: u32,
}

impl Cuda {
    /// The GPU with that number, which [`probe`](super::probe::probe) must have shown.
    pub fn new(ordinal: usize) -> Result<Cuda> {
        let name = format!("cuda:{ordinal}");
        let hopper = match std::env::var("LAE_SM90A").as_deref() {
            Err(_) | Ok("") => Some(Hopper::WhereFaster),
            Ok("always") => Some(Hopper::WherePossible),
            Ok("off") => None,
            Ok(other) => return Err(Error::config("LAE_SM90A", format!("{other:?} is not one of off, always"))),
        };
        let open = || -> Result<Shared, DriverError> {
            let context = CudaContext::new(ordinal)?;
            // SAFETY: before the first allocation; no memory is shared through cudarc's slices, which is what the events are for.
            unsafe { context.disable_event_tracking() };
            let stream = context.new_stream()?;
            let attribute = |a| context.attribute(a);
            use sys::CUdevice_attribute::*;
            let major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
            let minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
            let shared_limit = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32;
            let arch = (10 * major + minor) as u32;
            Ok(Shared { name: name.clone(), arch, hopper, shared_limit, context, stream, state: Mutex::default() })
        };
        match open() {
            Ok(shared) => Ok(Cuda(Arc::new(shared))),
            Err(e) => Err(Error::Unavailable { device: name.clone(), why: codes::explain(e.0 as i32) }),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the state is held")
    }

    fn error(&self, why: impl Into<String>) -> Error {
        Error::Device { device: self.name.clone(), why: why.into() }
    }

    /// The driver's error, in words, with what was being done.
    fn failed(&self, what: &str) -> impl Fn(DriverError) -> Error {
        move |e| self.error(format!("{what}: {}", codes::explain(e.0 as i32)))
    }

    /// Errors of earlier calls that could not return one (memory given back in a `Drop`) surface here.
    fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(self.failed("earlier work"))
    }

    /// The address of a span, if it lies within a live block.
    fn address(&self, state: &State, s: Span) -> Result<u64> {
        let block = state.blocks.get(&s.mem).ok_or_else(|| self.error(format!("{s:?} was given back or is another device's")))?;
        match s.offset.checked_add(s.len) {
            Some(end) if end <= block.len => Ok(block.address + s.offset as u64),
            _ => Err(self.error(format!("{s:?} is beyond its block of {} bytes", block.len))),
        }
    }

    fn refuse_while_recording(&self, state: &State, what: &str) -> Result<()> {
        match state.recording {
            Some(_) => Err(self.error(format!("{what} while launches are recorded"))),
            None => Ok(()),
        }
    }

    /// Put a launch on the stream.
    fn enqueue(&self, state: &mut State, l: &Launch) -> Result<()> {
        let refused = |why| Error::Launch { kernel: l.kernel.name.to_string(), at: String::new(), why };
        let encode = |map: &TensorMap| {
            encode(map).map_err(|e| refused(format!("the driver refused the tensor map {map:?}: {}", codes::explain(e.0 as i32))))
        };
        let mut arguments = Arguments::pack(&l.args, |s| self.address(state, s), encode)?;
        let function = self.function(state, l)?;
        let ([gx, gy, gz], [bx, by, bz]) = (l.grid, l.block);
        // SAFETY: the function's module is loaded and stays so; the arguments are as many and as large as its PTX states
        // (`Launch::check`), and the driver copies them before it returns; pointers lead into live memory of this device. What the
        // kernel does with them is the kernel's: the emulator's checks are the evidence for that.
        let launched = unsafe {
            let stream = self.stream.cu_stream();
            result::launch_kernel(function, (gx, gy, gz), (bx, by, bz), l.shared, stream, &mut arguments.pointers())
        };
        launched.map_err(|e| refused(format!("grid {:?}, blocks {:?}: {}", l.grid, l.block, codes::explain(e.0 as i32))))
    }

    /// The kernel's handle, its module loaded, allowed as much shared memory as this launch takes.
    fn function(&self, state: &mut State, l: &Launch) -> Result<CUfunction> {
        let kernel = l.kernel;
        if !state.functions.contains_key(kernel.name) {
            let module = self.module(state, kernel.module)?;
            let name = CString::new(kernel.name).expect("PTX names have no zero byte");
            // SAFETY: the module was loaded and is unloaded with `Shared` only.
            let handle = unsafe { result::module::get_function(module, name) };
            let handle = handle.map_err(self.failed(&format!("looking for {} in {}", kernel.name, kernel.module.name)))?;
            // Without asking, static and dynamic shared memory may have 48 KiB together.
            let shared = (48 * 1024u32).saturating_sub(kernel.shared);
            state.functions.insert(kernel.name, Function { handle: Loaded(handle), shared });
        }
        let function = state.functions.get_mut(kernel.name).expect("just there");
        if l.shared > function.shared {
            let limit = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: as above.
            let set = unsafe { result::function::set_function_attribute(function.handle.0, limit, l.shared as i32) };
            set.map_err(self.failed(&format!("{} bytes of shared memory for {}", l.shared, kernel.name)))?;
            function.shared = l.shared;
        }
        Ok(function.handle.0)
    }

    /// Load a module at its first use: machine code if the build has some for this GPU, else PTX, which the driver translates.
    fn module(&self, state: &mut State, m: &'static Module) -> Result<CUmodule> {
        if let Some(loaded) = state.modules.get(m.name) {
            return Ok(loaded.0);
        }
        let machine_code = best(m.cubins, self.arch).map(|c| (format!("machine code for sm_{}", c.arch), c.code.to_vec()));
        let ptx = ("PTX".to_string(), CString::new(m.ptx).expect("PTX has no zero byte").into_bytes_with_nul());
        let mut refusals = Vec::new();
        for (kind, image) in machine_code.into_iter().chain([ptx]) {
            match load(&image) {
                Ok(module) => {
                    state.modules.insert(m.name, Loaded(module));
                    return Ok(module);
                }
                Err((code, log)) => refusals.push(format!("{kind}: {} {log}", codes::explain(code)).trim_end().to_string()),
            }
        }
        Err(self.error(format!("the driver refused {} on sm_{}; {}", m.name, self.arch, refusals.join("; "))))
    }
}

/// The machine code to try on a GPU: its own, else an older one of the same generation. Jetson's sm_87 and sm_88 stand alone.
fn best(cubins: &'static [Cubin], arch: u32) -> Option<&'static Cubin> {
    let alone = |a: u32| a == 87 || a == 88;
    let runs = |c: &&Cubin| c.arch == arch || (c.arch / 10 == arch / 10 && c.arch < arch && !alone(c.arch) && !alone(arch));
    cubins.iter().filter(runs).max_by_key(|c| c.arch)
}

/// `cuModuleLoadDataEx`, with what the translator of PTX has to say.
fn load(image: &[u8]) -> Result<CUmodule, (i32, String)> {
    let mut log = vec![0u8; 4096];
    let mut module = std::ptr::null_mut();
    use sys::CUjit_option::*;
    let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The size travels in the pointer's place.
    let mut values = [log.as_mut_ptr() as *mut c_void, log.len() as *mut c_void];
    // SAFETY: the image is machine code or PTX with a zero at its end; both options have the values that cuda.h asks for, and the
    // driver uses them during the call only.
    let code = unsafe {
        let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
        sys::cuModuleLoadDataEx(&mut module, image.as_ptr() as *const c_void, 2, options, values)
    };
    match code {
        CUresult::CUDA_SUCCESS => Ok(module),
        code => {
            let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
            Err((code as i32, String::from_utf8_lossy(&log[..end]).trim().replace('\n', "; ")))
        }
    }
}

/// `cuTensorMapEncodeTiled` or `cuTensorMapEncodeIm2col`: a host function, which looks at no memory of the GPU.
fn encode(map: &TensorMap) -> Result<[u64; 16], DriverError> {
    use sys::{CUtensorMapFloatOOBfill as Fill, CUtensorMapInterleave as Interleave, CUtensorMapL2promotion as Promotion};
    let element = {
        use crate::ptx::tensor_map::ElementType::*;
        use sys::CUtensorMapDataType::*;
        match map.element {
            U8 => CU_TENSOR_MAP_DATA_TYPE_UINT8,
            U16 => CU_TENSOR_MAP_DATA_TYPE_UINT16,
            U32 => CU_TENSOR_MAP_DATA_TYPE_UINT32,
            I32 => CU_TENSOR_MAP_DATA_TYPE_INT32,
            U64 => CU_TENSOR_MAP_DATA_TYPE_UINT64,
            I64 => CU_TENSOR_MAP_DATA_TYPE_INT64,
            F16 => CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            F32 => CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
            F64 => CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
            Bf16 => CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            F32Ftz => CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ,
            Tf32 => CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
            Tf32Ftz => CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ,
        }
    };
    let swizzle = match map.swizzle {
        Swizzle::None => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
        Swizzle::B32 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_32B,
        Swizzle::B64 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        Swizzle::B128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
    };
    let fill = match map.nan {
        false => Fill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        true => Fill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA,
    };
    let interleave = Interleave::CU_TENSOR_MAP_INTERLEAVE_NONE;
    let promotion = Promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B;
    let mut out = sys::CUtensorMap { opaque: [0; 16] };
    let (rank, address) = (map.dims.len() as u32, map.address as *mut c_void);
    let (dims, strides, steps) = (map.dims.as_ptr(), map.strides.as_ptr(), map.steps.as_ptr());
    // SAFETY: the arrays are as long as the rank asks for (`TensorMap::check`) and are read during the call only; `out` is aligned to
    // 64 bytes by its type. The address is not followed.
    let code = unsafe {
        match &map.cut {
            Cut::Tiled(sides) => sys::cuTensorMapEncodeTiled(
                &mut out,
                element,
                rank,
                address,
                dims,
                strides,
                sides.as_ptr(),
                steps,
                interleave,
                swizzle,
                promotion,
                fill,
            ),
            Cut::Im2col { lower, upper, channels, pixels } => sys::cuTensorMapEncodeIm2col(
                &mut out,
                element,
                rank,
                address,
                dims,
                strides,
                lower.as_ptr(),
                upper.as_ptr(),
                *channels,
                *pixels,
                steps,
                interleave,
                swizzle,
                promotion,
                fill,
            ),
        }
    };
    match code {
        CUresult::CUDA_SUCCESS => Ok(out.opaque),
        code => Err(DriverError(code)),
    }
}

/// The arguments of a launch in memory: a value's bytes, or an address.
struct Arguments {
    words: Vec<u64>,
    /// Where each begins in `words`.
    starts: Vec<usize>,
}

impl Arguments {
    fn pack(
        args: &[Arg],
        address: impl Fn(Span) -> Result<u64>,
        encode: impl Fn(&TensorMap) -> Result<[u64; 16]>,
    ) -> Result<Arguments> {
        let (mut words, mut starts) = (Vec::new(), Vec::new());
        for arg in args {
            starts.push(words.len());
            match arg {
                Arg::Read(s) | Arg::Write(s) | Arg::Update(s) => words.push(address(*s)?),
                Arg::Null => words.push(0),
                Arg::Value(bytes) => words.extend(bytes.chunks(8).map(|part| {
                    let mut word = [0; 8];
                    word[..part.len()].copy_from_slice(part);
                    u64::from_ne_bytes(word)
                })),
                Arg::Map { span, map, .. } => {
                    words.extend(encode(&TensorMap { address: address(*span)?, ..(**map).clone() })?);
                }
            }
        }
        Ok(Arguments { words, starts })
    }

    /// One address each, as `cuLaunchKernel` wants them; good while `self` is.
    fn pointers(&mut self) -> Vec<*mut c_void> {
        self.starts.iter().map(|&i| self.words[i..].as_mut_ptr() as *mut c_void).collect()
    }
}

/// The way of uploads. Each piece goes host → pinned memory (by the CPU) → staging memory on the GPU (second stream, while the first
/// one computes) → its place (first stream, in order). A slot is used again when both copies out of it are done.
#[derive(Default)]
struct Staging {
    stream: Option<Arc<CudaStream>>,
    slots: Vec<Slot>,
    next: usize,
}

struct Slot {
    pinned: *mut c_void,
    device: u64,
    /// The second stream has read `pinned`.
    landed: CudaEvent,
    /// The first stream has read `device`.
    taken: CudaEvent,
}

// SAFETY: the pointer is memory of the driver's that no thread owns; it is used under the state's lock.
unsafe impl Send for Slot {}

/// Bytes of a slot, and how many there are at most: 64 MiB, the pictures of a batch.
const SLOT: usize = 8 << 20;
const SLOTS: usize = 8;

impl Staging {
    /// Copy to `address`, in the order of `compute`. The context is bound; `address` has room.
    fn upload(&mut self, context: &Arc<CudaContext>, compute: &CudaStream, address: u64, src: &[u8]) -> Result<(), DriverError> {
        let copies = match &self.stream {
            Some(stream) => stream.clone(),
            None => self.stream.insert(context.new_stream()?).clone(),
        };
        for (i, piece) in src.chunks(SLOT).enumerate() {
            if self.slots.len() < SLOTS && self.next == self.slots.len() {
                self.slots.push(Slot::new(context)?);
            }
            let slot = &self.slots[self.next];
            self.next = (self.next + 1) % SLOTS;
            slot.landed.synchronize()?;
            copies.wait(&slot.taken)?;
            // SAFETY: both buffers have SLOT bytes. The pinned one is not being read (`landed`), the staging one is not either when
            // the second stream's turn comes (`taken`); the destination has room and is written in the first stream's order.
            unsafe {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), slot.pinned as *mut u8, piece.len());
                let pinned = std::slice::from_raw_parts(slot.pinned as *const u8, piece.len());
                result::memcpy_htod_async(slot.device, pinned, copies.cu_stream())?;
                slot.landed.record(&copies)?;
                compute.wait(&slot.landed)?;
                result::memcpy_dtod_async(address + (i * SLOT) as u64, slot.device, piece.len(), compute.cu_stream())?;
                slot.taken.record(compute)?;
            }
        }
        Ok(())
    }
}

impl Slot {
    fn new(context: &Arc<CudaContext>) -> Result<Slot, DriverError> {
        let (landed, taken) = (context.new_event(None)?, context.new_event(None)?);
        // SAFETY: plain bytes, written before they are read.
        let device = unsafe { result::malloc_sync(SLOT) }?;
        match unsafe { result::malloc_host(SLOT, 0) } {
            Ok(pinned) => Ok(Slot { pinned, device, landed, taken }),
            Err(e) => {
                // SAFETY: allocated above, used by nobody.
                unsafe { result::free_sync(device) }?;
                Err(e)
            }
        }
    }
}

impl Driver for Cuda {
    fn name(&self) -> &str {
        &self.0.name
    }

    /// One allocation for all blocks.
    fn alloc(&self, blocks: &[(String, usize)]) -> Result<Vec<Mem>> {
        let shared = &self.0;
        let mut state = shared.state();
        shared.refuse_while_recording(&state, "memory asked for")?;
        shared.bind()?;
        let (offsets, total) = carve(blocks);
        if total == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: contents are undefined by contract.
        let arena = match unsafe { result::malloc_sync(total) } {
            Ok(address) => address,
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let mib = |n: usize| n.div_ceil(1 << 20);
                let free = result::mem_get_info().map(|(free, all)| format!(", {} of {} free", mib(free), mib(all)));
                let what = format!("{} MiB of GPU memory asked for{}", mib(total), free.unwrap_or_default());
                return Err(shared.failed(&what)(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)));
            }
            Err(e) => return Err(shared.failed(&format!("{total} bytes of memory"))(e)),
        };
        state.arenas.insert(arena, blocks.len());
        let place = |((_, len), offset): (&(String, usize), usize)| {
            state.numbers += 1;
            let mem = Mem(state.numbers);
            state.blocks.insert(mem, Block { address: arena + offset as u64, len: *len, arena });
            mem
        };
        Ok(blocks.iter().zip(offsets).map(place).collect())
    }

    fn free(&self, blocks: &[Mem]) {
        let shared = &self.0;
        let mut state = shared.state();
        for block in blocks.iter().filter_map(|m| state.blocks.remove(m)).collect::<Vec<_>>() {
            let live = state.arenas.get_mut(&block.arena).expect("a block has an arena");
            *live -= 1;
            if *live == 0 {
                state.arenas.remove(&block.arena);
                // Work that was launched before may still use it. An error surfaces at the next call that can return one.
                shared.context.record_err(shared.context.bind_to_thread());
                shared.context.record_err(shared.stream.synchronize());
                // SAFETY: allocated by `alloc`, without live blocks, and the stream is done with it.
                shared.context.record_err(unsafe { result::free_sync(block.arena) });
            }
        }
    }

    fn upload(&self, dst: Span, src: &[u8]) -> Result<()> {
        let shared = &self.0;
        let mut state = shared.state();
        shared.refuse_while_recording(&state, "an upload")?;
        if dst.len != src.len() {
            return Err(shared.error(format!("an upload of {} bytes to {dst:?}", src.len())));
        }
        shared.bind()?;
        let address = shared.address(&state, dst)?;
        let sent = state.staging.upload(&shared.context, &shared.stream, address, src);
        sent.map_err(shared.failed("upload"))
    }

    fn download(&self, src: Span, dst: &mut [u8]) -> Result<()> {
        let shared = &self.0;
        let state = shared.state();
        shared.refuse_while_recording(&state, "a download")?;
        if src.len != dst.len() {
            return Err(shared.error(format!("a download of {} bytes from {src:?}", dst.len())));
        }
        shared.bind()?;
        let address = shared.address(&state, src)?;
        // SAFETY: the span lies in live memory; `dst` stays borrowed until the stream is done.
        let copied = unsafe { result::memcpy_dtoh_async(dst, address, shared.stream.cu_stream()) };
        // Wait even if the copy was refused: nothing may write to `dst` after this.
        let done = shared.stream.synchronize();
        copied.and(done).map_err(shared.failed("download"))
    }

    fn launch(&self, l: &Launch) -> Result<()> {
        let shared = &self.0;
        l.check()?;
        super::refuse_target(self, l)?;
        let (wanted, limit) = (l.shared + l.kernel.shared, shared.shared_limit);
        if wanted > limit {
            let why = format!("takes {wanted} bytes of shared memory, {} (sm_{}) has {limit}", shared.name, shared.arch);
            return Err(Error::Launch { kernel: l.kernel.name.to_string(), at: String::new(), why });
        }
        let mut state = shared.state();
        if let Some(noted) = &mut state.recording {
            noted.push(l.clone());
            return Ok(());
        }
        shared.bind()?;
        shared.enqueue(&mut state, l)
    }

    fn sync(&self) -> Result<()> {
        self.0.bind()?;
        self.0.stream.synchronize().map_err(self.0.failed("waiting for the GPU"))
    }

    fn sm_90a(&self) -> Result<Hopper, String> {
        let shared = &self.0;
        match () {
            _ if shared.arch != 90 => {
                Err(format!("they run on sm_90 and on nothing else; {} is sm_{}", shared.name, shared.arch))
            }
            _ if !kernels::hopper() => Err(kernels::NO_HOPPER.to_string()),
            _ => shared.hopper.ok_or_else(|| "LAE_SM90A=off".to_string()),
        }
    }

    /// Between two events of the stream, so copies and the host's own work before them do not count.
    fn seconds(&self, body: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let (shared, timed) = (&self.0, Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        shared.bind()?;
        let begin = shared.stream.record_event(timed).map_err(shared.failed("an event"))?;
        body()?;
        let end = shared.stream.record_event(timed).map_err(shared.failed("an event"))?;
        Ok(begin.elapsed_ms(&end).map_err(shared.failed("the time between two events"))? as f64 * 1e-3)
    }

    /// Notes the launches without running them, then captures them into a graph. The capture itself runs no code but ours, so that
    /// nothing in it can allocate, wait or fail half way.
    fn record(&self, body: &mut dyn FnMut() -> Result<()>) -> Result<Box<dyn Replay>> {
        let shared = &self.0;
        {
            let mut state = shared.state();
            shared.refuse_while_recording(&state, "a recording")?;
            state.recording = Some(Vec::new());
        }
        let noted = body();
        let mut state = shared.state();
        let launches = state.recording.take().expect("set above");
        noted?;
        shared.bind()?;
        // A capture may not load modules.
        for l in &launches {
            shared.function(&mut state, l)?;
        }
        let capture = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        shared.stream.begin_capture(capture).map_err(shared.failed("begin of a recording"))?;
        let enqueued = launches.iter().try_for_each(|l| shared.enqueue(&mut state, l));
        // The capture must end whatever happened in it.
        let graph = shared.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        enqueued?;
        let graph = graph.map_err(shared.failed("end of a recording"))?;
        let graph = graph.ok_or_else(|| shared.error("nothing was recorded"))?;
        let mut uses: Vec<Mem> = launches.iter().flat_map(|l| &l.args).filter_map(|a| Some(a.span()?.mem)).collect();
        uses.sort_by_key(|m| m.0);
        uses.dedup();
        Ok(Box::new(Recorded { graph, uses, shared: shared.clone() }))
    }
}

/// Where each block begins in one allocation, and its size.
fn carve(blocks: &[(String, usize)]) -> (Vec<usize>, usize) {
    let mut end = 0;
    let mut offsets = Vec::new();
    for (_, len) in blocks {
        offsets.push(end);
        end += (*len).max(1).next_multiple_of(ALIGN);
    }
    (offsets, end)
}

/// A captured graph.
struct Recorded {
    graph: CudaGraph,
    /// The blocks that its launches point into.
    uses: Vec<Mem>,
    shared: Arc<Shared>,
}

// SAFETY: a graph may be used by any thread, one at a time; it is not `Sync`, so `&self` stays with one thread.
unsafe impl Send for Recorded {}

impl Replay for Recorded {
    fn replay(&self) -> Result<()> {
        let state = self.shared.state();
        self.shared.refuse_while_recording(&state, "a replay")?;
        if let Some(gone) = self.uses.iter().find(|m| !state.blocks.contains_key(m)) {
            return Err(self.shared.error(format!("a recording uses {gone:?}, which was given back")));
        }
        self.shared.bind()?;
        self.graph.launch().map_err(self.shared.failed("replay"))
    }
}

/// In the order of need: the streams stop, then what they used goes. The context follows with the last `Arc`.
impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(|e| e.into_inner());
        if self.context.bind_to_thread().is_err() || self.context.synchronize().is_err() {
            return; // The context is lost, and all that was in it with it.
        }
        for slot in state.staging.slots.drain(..) {
            // SAFETY: allocated in `Slot::new`, used by nobody after the wait above.
            unsafe {
                self.context.record_err(result::free_host(slot.pinned));
                self.context.record_err(result::free_sync(slot.device));
            }
        }
        for &arena in state.arenas.keys() {
            // SAFETY: as above; whoever holds a `Mem` of it has no driver to use it with.
            self.context.record_err(unsafe { result::free_sync(arena) });
        }
        for module in state.modules.values() {
            // SAFETY: loaded once, and its functions go with it.
            self.context.record_err(unsafe { result::module::unload(module.0) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_an_allocation_and_begin_aligned() {
        let blocks: Vec<_> = [0, 1, 256, 257, 12].iter().map(|&n| (String::new(), n)).collect();
        assert_eq!(carve(&blocks), (vec![0, 256, 512, 768, 1280], 1536));
        assert_eq!(carve(&[]), (vec![], 0));
    }

    #[test]
    fn arguments_are_packed_as_the_kernel_reads_them() {
        let span = |offset| Span { mem: Mem(7), offset, len: 4, unit: 4 };
        let value: Box<[u8]> = (1..=13).collect();
        let args = [Arg::Read(span(16)), Arg::Value(value.clone()), Arg::Null, Arg::Write(span(0)), Arg::Update(span(4))];
        let no_map = |_: &TensorMap| unreachable!("none among the arguments");
        let mut packed = Arguments::pack(&args, |s| Ok(0xABCD_0000_0000 + s.offset as u64), no_map).unwrap();
        assert_eq!(packed.starts, [0, 1, 3, 4, 5], "a value of 13 bytes takes two words");
        assert_eq!(packed.words[0], 0xABCD_0000_0010);
        assert_eq!(bytemuck::bytes_of(&[packed.words[1], packed.words[2]])[..13], *value);
        assert_eq!(packed.words[3..], [0, 0xABCD_0000_0000, 0xABCD_0000_0004]);
        let base = packed.words.as_ptr() as usize;
        let offsets: Vec<usize> = packed.pointers().iter().map(|p| *p as usize - base).collect();
        assert_eq!(offsets, [0, 8, 24, 32, 40]);
        assert!(Arguments::pack(&args, |_| Err(Error::config("x", "y")), no_map).is_err());
    }

    #[test]
    fn machine_code_runs_on_its_own_generation_and_later_models_of_it() {
        const fn cubin(arch: u32) -> Cubin {
            Cubin { arch, code: &[] }
        }
        static CUBINS: [Cubin; 4] = [cubin(80), cubin(86), cubin(87), cubin(90)];
        let taken = [75, 80, 86, 87, 89, 90, 100, 120].map(|arch| best(&CUBINS, arch).map_or(0, |c| c.arch));
        assert_eq!(taken, [0, 80, 86, 87, 86, 90, 0, 0]);
        assert!(best(&CUBINS[..2], 87).is_none(), "Jetson does not run desktop code");
    }
}
