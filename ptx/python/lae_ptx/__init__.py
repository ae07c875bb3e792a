"""Run CUDA kernels, as PTX, without a GPU, and check what they do: memory, races, barriers, uninitialised values.

    import numpy as np, lae_ptx

    module = lae_ptx.Module.load("saxpy.ptx")
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, dtype=np.float32)
    report = module.run("saxpy", grid=4, block=256, args=[1000, 2.0, lae_ptx.Read(x), lae_ptx.Update(y)])
    assert report, report          # the text names the race, the thread and the line
    assert (y == 2 * x + 1).all()

The emulator is a library with a C interface (`cargo build --release -p lae-ptx-c`), looked for in LAE_PTX_LIB, beside this file,
and in the folder `target` of the repository. Arrays are numpy's, or anything with a buffer (bytearray, array.array, memoryview).
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

__all__ = ["Error", "Finding", "Module", "Machine", "Read", "Write", "Update", "Struct", "TensorMap", "Report"]


class Error(Exception):
    """A call that cannot be done: no such kernel, arguments that do not fit, a file that is not PTX."""


class Finding(Exception):
    """What was found in a kernel; raised by `Report.check`. `kind` is one word: race, out-of-bounds, uninitialised, deadlock, …"""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class _Map(ctypes.Structure):
    """`lae_tensor_map` of the C interface."""

    _fields_ = [
        ("address", ctypes.c_uint64), ("type", ctypes.c_uint32), ("rank", ctypes.c_uint32), ("dims", ctypes.c_uint64 * 5),
        ("strides", ctypes.c_uint64 * 4), ("steps", ctypes.c_uint32 * 5), ("swizzle", ctypes.c_uint32), ("nan", ctypes.c_uint32),
        ("im2col", ctypes.c_uint32), ("box", ctypes.c_uint32 * 5), ("lower", ctypes.c_int32 * 3), ("upper", ctypes.c_int32 * 3),
        ("channels", ctypes.c_uint32), ("pixels", ctypes.c_uint32),
    ]


def _library():
    name = {"darwin": "liblae_ptx_c.dylib", "win32": "lae_ptx_c.dll"}.get(sys.platform, "liblae_ptx_c.so")
    here = Path(__file__).resolve().parent
    named = os.environ.get("LAE_PTX_LIB")
    places = [Path(named)] if named else [here / name] + [here.parents[2] / "target" / p / name for p in ("release", "debug")]
    found = next((p for p in places if p.is_file()), None)
    if found is None:
        looked = ", ".join(map(str, places))
        remedy = "build it with `cargo build --release -p lae-ptx-c`, or name it in LAE_PTX_LIB"
        raise ImportError(f"{name} is not there; looked at {looked}: {remedy}")
    lib = ctypes.CDLL(str(found))
    p, s, u64, size, i = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int
    three = ctypes.POINTER(ctypes.c_uint32 * 3)
    signatures = {
        "error": (s, []),
        "module_parse": (p, [s, s, size]), "module_free": (None, [p]), "module_kernels": (size, [p]), "module_kernel": (s, [p, size]),
        "module_parameters": (i, [p, s]), "module_parameter_size": (i, [p, s, size]), "module_check": (i, [p, s]),
        "machine_new": (p, []), "machine_free": (None, [p]), "machine_set": (i, [p, s, s]),
        "alloc": (u64, [p, s, u64]), "free": (i, [p, u64]), "write": (i, [p, u64, p, u64]), "read": (i, [p, u64, p, u64]),
        "initialised": (i, [p, u64, u64]), "symbol": (u64, [p, p, s, ctypes.POINTER(u64)]),
        "launch_new": (p, [three, three, ctypes.c_uint32]), "launch_free": (None, [p]),
        "arg_pointer": (i, [p, i, u64, u64]), "arg_null": (i, [p]), "arg_value": (i, [p, p, size]),
        "arg_tensor_map": (i, [p, ctypes.POINTER(_Map), i]),
        "arg_inside": (i, [p, size, i, u64, u64]), "also": (i, [p, i, u64, u64]), "run": (i, [p, p, s, p]),
        "report": (s, [p]), "report_kind": (s, [p]), "report_instructions": (u64, [p]),
    }
    for name, (result, arguments) in signatures.items():
        f = getattr(lib, "lae_" + name)
        f.restype, f.argtypes = result, arguments
    return lib


_lib = _library()


def _checked(result):
    """The result of a call, of which 0 and null mean that it failed."""
    if not result:
        raise Error(_lib.lae_error().decode())
    return result


class _Memory:
    """An array that a kernel gets a pointer to."""

    access = None

    def __init__(self, array):
        view = memoryview(array)
        if not view.c_contiguous:
            raise Error("an array must be contiguous (numpy.ascontiguousarray)")
        if self.access != Read.access and view.readonly:
            raise Error(f"{type(self).__name__}: the array is read-only")
        self.array, self.bytes = array, view.nbytes

    def pointer(self):
        """The array's own memory, for the length of a call."""
        view = memoryview(self.array)
        if view.readonly or not view.nbytes:
            return ctypes.create_string_buffer(view.tobytes(), max(1, view.nbytes))
        return (ctypes.c_char * view.nbytes).from_buffer(view.cast("B"))


class Read(_Memory):
    """An array that the kernel may only read."""

    access = 0


class Write(_Memory):
    """An array that the kernel fills: what it held before is not given to the kernel, and reading it is a finding. Values that
    the kernel does not write keep what they were."""

    access = 1


class Update(_Memory):
    """An array that the kernel reads and changes."""

    access = 2


class Struct:
    """An argument by value: `format` as in the module `struct` (natural alignment), fields numbers or `Read`, `Write`, `Update`, None."""

    def __init__(self, format, *fields):
        self.format, self.fields = format, fields


# As the driver numbers them.
_ELEMENTS = ["u8", "u16", "u32", "i32", "u64", "i64", "f16", "f32", "f64", "bf16", "f32_ftz", "tf32", "tf32_ftz"]
_SIZES = [1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4]


class TensorMap:
    """A tensor map by value, of an array in `Read` (or, to store through it, `Write` or `Update`). `shape`, `box` and `steps` are in the
    order of the array, the contiguous dimension last; the shape is a numpy array's own if it is not given. `element` is one of u8 u16
    u32 i32 u64 i64 f16 f32 f64 bf16 f32_ftz tf32 tf32_ftz. For im2col give `lower`, `upper` (height before width), `channels` and
    `pixels` for `box`."""

    def __init__(self, memory, element, box=None, shape=None, steps=None, swizzle=0, nan=False, lower=None, upper=None, channels=0,
                 pixels=0):
        if not isinstance(memory, _Memory):
            raise Error("a tensor map is of an array in Read, Write or Update")
        if element not in _ELEMENTS:
            raise Error(f"{element!r} is none of {', '.join(_ELEMENTS)}")
        shape = tuple(shape if shape is not None else getattr(memory.array, "shape", ()))
        rank, size = len(shape), _SIZES[_ELEMENTS.index(element)]
        if not 1 <= rank <= 5:
            raise Error(f"a tensor of {rank} dimensions; it must have 1 to 5 (shape=...)")
        if (box is None) == (lower is None):
            raise Error("a tensor map cuts a box, or by lower, upper, channels and pixels: one of the two")
        m = _Map(type=_ELEMENTS.index(element), rank=rank, swizzle=swizzle, nan=nan, im2col=box is None, channels=channels, pixels=pixels)
        for name, values, count in [("dims", shape, rank), ("box", box, rank), ("steps", steps, rank), ("lower", lower, rank - 2),
                                    ("upper", upper, rank - 2)]:
            if values is None:
                continue
            values = list(values)
            if len(values) != count:
                raise Error(f"{name}: {len(values)} numbers for {rank} dimensions; it must be {count}")
            getattr(m, name)[:count] = values[::-1]
        stride = size
        for k, extent in enumerate(shape[:0:-1]):
            stride *= extent
            m.strides[k] = stride
        if stride * shape[0] > memory.bytes:
            raise Error(f"the tensor has {stride * shape[0]} bytes, the array {memory.bytes}")
        self.memory, self.map = memory, m


class Report:
    """What a launch did: true if nothing was found. `kind` and `text` say what was, `instructions` how many a warp executed."""

    def __init__(self, kind, text, instructions):
        self.kind, self.text, self.instructions = kind, text, instructions

    def __bool__(self):
        return not self.kind

    def __str__(self):
        return self.text or f"no finding in {self.instructions} warp instructions"

    __repr__ = __str__

    def check(self):
        """Raises `Finding` if something was found."""
        if self.kind:
            raise Finding(self.kind, self.text)
        return self


class Module:
    """A PTX file."""

    def __init__(self, text, name="PTX"):
        data = text.encode() if isinstance(text, str) else bytes(text)
        self._as_parameter_ = _checked(_lib.lae_module_parse(name.encode(), data, len(data)))

    @classmethod
    def load(cls, path):
        """Reads a file, as `nvcc -ptx` writes it (`-lineinfo` gives reports source lines)."""
        return cls(Path(path).read_bytes(), os.path.basename(path))

    def __del__(self):
        if getattr(self, "_as_parameter_", None):
            _lib.lae_module_free(self)
            self._as_parameter_ = None

    @property
    def kernels(self):
        """The names of its kernels."""
        return [_lib.lae_module_kernel(self, i).decode() for i in range(_lib.lae_module_kernels(self))]

    def parameters(self, kernel):
        """Bytes of each parameter of a kernel."""
        n = _lib.lae_module_parameters(self, kernel.encode())
        if n < 0:
            raise Error(_lib.lae_error().decode())
        return [_lib.lae_module_parameter_size(self, kernel.encode(), i) for i in range(n)]

    def check(self, kernel):
        """Raises `Error` if the kernel holds something that is not supported."""
        _checked(_lib.lae_module_check(self, kernel.encode()))

    def run(self, kernel, grid=1, block=32, args=(), shared=0, **config):
        """Runs a kernel once, on memory of its own: `Machine.run`. `config` as for `Machine`."""
        return Machine(**config).run(self, kernel, grid, block, args, shared)


class Machine:
    """Memory, and how kernels are run. Keys: schedule="forward" | "reverse" | "random:SEED", init, race, tf32, counters = True | False,
    truncation="recognised" | "never", fences="usual" | "all", tensor="ideal" | "ampere" | "hopper", perturb=SEED, copies="late" | "eager", budget, threads,
    resident, max_shared."""

    def __init__(self, **config):
        self._as_parameter_ = _checked(_lib.lae_machine_new())
        for key, value in config.items():
            self.set(key, value)

    def __del__(self):
        if getattr(self, "_as_parameter_", None):
            _lib.lae_machine_free(self)
            self._as_parameter_ = None

    def set(self, key, value):
        """Sets a key to a value."""
        value = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
        _checked(_lib.lae_machine_set(self, key.encode(), value.encode()))

    def variable(self, module, name, array, write=False):
        """Reads a `__device__` or `__constant__` variable into an array, or writes the array to it."""
        size = ctypes.c_uint64()
        address = _checked(_lib.lae_symbol(self, module, name.encode(), ctypes.byref(size)))
        memory = (Read if write else Write)(array)
        if memory.bytes != size.value:
            raise Error(f"variable `{name}` has {size.value} bytes, the array {memory.bytes}")
        _checked((_lib.lae_write if write else _lib.lae_read)(self, address, memory.pointer(), memory.bytes))

    def run(self, module, kernel, grid=1, block=32, args=(), shared=0):
        """Runs a kernel to its end, or to the first finding. Arguments: numbers (Python's are taken as the parameter's size asks),
        numpy scalars, `Read`, `Write`, `Update`, `Struct`, `TensorMap`, bytes (a struct), None (a null pointer). Arrays hold the results afterwards."""
        sizes = module.parameters(kernel)
        if len(sizes) != len(args):
            raise Error(f"{kernel}: {len(args)} arguments for {len(sizes)} parameters")
        launch = _checked(_lib.lae_launch_new(_three(grid), _three(block), shared))
        memory = []
        try:
            for i, (arg, size) in enumerate(zip(args, sizes)):
                self._argument(launch, i, arg, size, memory)
            verdict = _lib.lae_run(self, module, kernel.encode(), launch)
            kind, text = _lib.lae_report_kind(self).decode(), _lib.lae_report(self).decode()
            if verdict == 2:
                raise Error(text or _lib.lae_error().decode())
            for m, address in memory:
                if m.access != Read.access:
                    self._fetch(m, address)
            return Report(kind, text, _lib.lae_report_instructions(self))
        finally:
            _lib.lae_launch_free(launch)
            for _, address in memory:
                _lib.lae_free(self, address)

    def _fetch(self, m, address):
        data = bytearray(m.bytes)
        _checked(_lib.lae_read(self, address, (ctypes.c_char * max(1, m.bytes)).from_buffer(data or bytearray(1)), m.bytes))
        view = memoryview(m.array).cast("B")
        if m.access == Update.access or _lib.lae_initialised(self, address, m.bytes) == 1:
            view[:] = data
            return
        # What the kernel left out keeps its value.
        for i in range(m.bytes):
            if _lib.lae_initialised(self, address + i, 1) == 1:
                view[i] = data[i]

    def _place(self, m, name, memory):
        address = _checked(_lib.lae_alloc(self, name.encode(), m.bytes))
        memory.append((m, address))
        if m.access != Write.access:
            _checked(_lib.lae_write(self, address, m.pointer(), m.bytes))
        return address

    def _argument(self, launch, i, arg, size, memory):
        if arg is None:
            _checked(_lib.lae_arg_null(launch))
        elif isinstance(arg, _Memory):
            address = self._place(arg, f"arg{i}", memory)
            _checked(_lib.lae_arg_pointer(launch, arg.access, address, arg.bytes))
        elif isinstance(arg, TensorMap):
            arg.map.address = self._place(arg.memory, f"arg{i}", memory)
            _checked(_lib.lae_arg_tensor_map(launch, ctypes.byref(arg.map), arg.memory.access != Read.access))
        elif isinstance(arg, Struct):
            self._struct(launch, i, arg, memory)
        else:
            data = _value(arg, size, i)
            _checked(_lib.lae_arg_value(launch, data, len(data)))

    def _struct(self, launch, i, arg, memory):
        codes = [c for c in arg.format if not c.isspace() and c not in "@=<>!"]
        values, pointers, offset = [], [], 0
        for k, (code, field) in enumerate(zip(codes, arg.fields)):
            align = struct.calcsize(code)
            offset = (offset + align - 1) // align * align
            if isinstance(field, _Memory) or field is None:
                if code not in "PqQ":
                    raise Error(f"argument {i}, field {k}: a pointer has the format P")
                if field is not None:
                    pointers.append((offset, field, self._place(field, f"arg{i}.{k}", memory)))
                field = 0
            values.append(field)
            offset += align
        try:
            data = struct.pack("@" + "".join(codes), *values)
        except struct.error as why:
            raise Error(f"argument {i}: {why}") from None
        _checked(_lib.lae_arg_value(launch, data, len(data)))
        for at, m, address in pointers:
            _checked(_lib.lae_arg_inside(launch, at, m.access, address, m.bytes))


def _three(extent):
    parts = (extent,) if isinstance(extent, int) else tuple(extent)
    if not 1 <= len(parts) <= 3 or any(not 0 <= int(p) < 1 << 32 for p in parts):
        raise Error(f"{extent!r}: one to three numbers")
    return ctypes.byref((ctypes.c_uint32 * 3)(*parts, *(1,) * (3 - len(parts))))


def _value(arg, size, i):
    """A number or a struct, as it lies in memory."""
    if isinstance(arg, (bytes, bytearray)):
        return bytes(arg)
    if hasattr(arg, "dtype") and getattr(arg, "shape", None) == ():
        data = arg.tobytes()
        if len(data) != size:
            raise Error(f"argument {i}: {arg.dtype} has {len(data)} bytes, the parameter {size}")
        return data
    formats = {(float, 4): "f", (float, 8): "d", (float, 2): "e"}
    if isinstance(arg, bool):
        arg = int(arg)
    if isinstance(arg, int) and size in (1, 2, 4, 8):
        if not -(1 << 8 * size - 1) <= arg < 1 << 8 * size:
            raise Error(f"argument {i}: {arg} does not fit into {size} bytes")
        return (arg % (1 << 8 * size)).to_bytes(size, "little")
    if (type(arg), size) in formats:
        return struct.pack("<" + formats[type(arg), size], arg)
    raise Error(f"argument {i}: {arg!r} for a parameter of {size} bytes; arrays go in Read, Write or Update, structs in Struct")
