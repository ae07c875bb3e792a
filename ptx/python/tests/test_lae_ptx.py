"""The Python package: python3 -m unittest discover ptx/python/tests (with ptx/python in PYTHONPATH)."""

import array
import os
import unittest
from pathlib import Path

import lae_ptx
from lae_ptx import Read, Struct, Update, Write

try:
    import numpy as np
except ImportError:
    # The gate installs numpy and says so: there, a skipped test is a failure.
    if os.environ.get("LAE_PTX_NUMPY") == "require":
        raise
    np = None

BASIC = Path(__file__).resolve().parents[2] / "tests" / "ptx" / "basic.ptx"

STRUCT = """.version 8.0
.target sm_80
.address_size 64
.global .align 4 .u32 factor = 3;
.visible .entry scale(.param .align 8 .b8 p[24]) {
    .reg .pred %q<2>; .reg .b32 %r<6>; .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [p]; ld.param.u64 %rd2, [p+8]; ld.param.u32 %r1, [p+16];
    mov.u32 %r2, %tid.x; setp.ge.u32 %q1, %r2, %r1; @%q1 ret;
    mul.wide.u32 %rd3, %r2, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
    ld.global.u32 %r3, [%rd4]; ld.global.u32 %r4, [factor]; mul.lo.u32 %r3, %r3, %r4; st.global.u32 [%rd5], %r3; ret;
}"""


class WithoutNumpy(unittest.TestCase):
    def test_module(self):
        m = lae_ptx.Module.load(BASIC)
        self.assertIn("saxpy", m.kernels)
        self.assertEqual(m.parameters("saxpy"), [4, 4, 8, 8])
        m.check("saxpy")
        with self.assertRaisesRegex(lae_ptx.Error, "no kernel `saxpi`"):
            m.parameters("saxpi")
        with self.assertRaisesRegex(lae_ptx.Error, "hello.ptx"):
            lae_ptx.Module("hello", "hello.ptx")

    def test_saxpy(self):
        m = lae_ptx.Module.load(BASIC)
        x, y = array.array("f", range(100)), array.array("f", [1] * 100)
        report = m.run("saxpy", 1, 128, [100, 2.0, Read(x), Update(y)], schedule="random:5")
        self.assertTrue(report, report)
        self.assertEqual(list(y), [2 * v + 1 for v in range(100)])
        report = m.run("saxpy", 1, 128, [101, 2.0, Read(x), Update(y)])
        self.assertFalse(report)
        self.assertEqual(report.kind, "out-of-bounds")
        self.assertIn("basic.cu", report.text)
        with self.assertRaises(lae_ptx.Finding) as raised:
            report.check()
        self.assertEqual(raised.exception.kind, "out-of-bounds")

    def test_struct_and_variable(self):
        m, machine = lae_ptx.Module(STRUCT), lae_ptx.Machine()
        x, y = array.array("I", range(8)), array.array("I", [77] * 8)
        args = [Struct("PPIi", Read(x), Write(y), 6, 0)]
        self.assertTrue(machine.run(m, "scale", 1, 32, args))
        # The last two were not written.
        self.assertEqual(list(y), [0, 3, 6, 9, 12, 15, 77, 77])
        factor = array.array("I", [5])
        machine.variable(m, "factor", factor, write=True)
        self.assertTrue(machine.run(m, "scale", 1, 32, args))
        self.assertEqual(list(y)[:6], [0, 5, 10, 15, 20, 25])
        machine.variable(m, "factor", factor)
        self.assertEqual(factor[0], 5)

    def test_wrong_calls(self):
        m, x = lae_ptx.Module.load(BASIC), array.array("f", [0] * 4)
        for args, why in [
            ([4, 2.0, Read(x)], "3 arguments for 4 parameters"),
            ([4, "2", Read(x), Update(x)], "argument 1"),
            ([1 << 32, 2.0, Read(x), Update(x)], "does not fit"),
        ]:
            with self.assertRaisesRegex(lae_ptx.Error, why):
                m.run("saxpy", 1, 32, args)
        with self.assertRaisesRegex(lae_ptx.Error, "read-only"):
            Update(b"0123")
        with self.assertRaisesRegex(lae_ptx.Error, "2048"):
            m.run("saxpy", 1, 2048, [4, 2.0, Read(x), Update(x)])
        with self.assertRaisesRegex(lae_ptx.Error, "sideways"):
            lae_ptx.Machine(schedule="sideways")


@unittest.skipIf(np is None, "numpy is not installed")
class WithNumpy(unittest.TestCase):
    def test_arrays(self):
        m = lae_ptx.Module.load(BASIC)
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal(5000, dtype=np.float32), rng.standard_normal(5000, dtype=np.float32)
        want = np.float32(3) * x + y
        report = m.run("saxpy", 20, 256, [np.int32(5000), np.float32(3), Read(x), Update(y)])
        self.assertTrue(report, report)
        np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-6)
        self.assertGreater(report.instructions, 0)

    def test_tensor_maps(self):
        """A product of warp groups on tiles that bulk copies bring and take away."""
        m = lae_ptx.Module.load(BASIC.parent / "hopper.ptx")
        rng = np.random.default_rng(1)
        a, b = ((rng.integers(-16, 17, (128, 100)) / 8).astype(np.float32) for _ in range(2))
        c = np.zeros((128, 128), np.float32)
        tile = lambda x: lae_ptx.TensorMap(Read(x), "tf32", box=[128, 32], swizzle=128)
        args = [tile(a), tile(b), lae_ptx.TensorMap(lae_ptx.Write(c), "f32", box=[64, 32]), 100]
        report = m.run("gemm_tf32", 1, 384, args, shared=132160, fences="all")
        self.assertTrue(report, report)
        np.testing.assert_array_equal(c, a @ b.T)
        args[0] = lae_ptx.TensorMap(Read(a), "tf32", box=[64, 32], swizzle=128)
        report = m.run("gemm_tf32", 1, 384, args, shared=132160)
        self.assertEqual(report.kind, "deadlock")
        with self.assertRaisesRegex(lae_ptx.Error, "tf23"):
            lae_ptx.TensorMap(Read(a), "tf23", box=[1, 1])
        with self.assertRaisesRegex(lae_ptx.Error, "multiple of 16"):
            m.run("gemm_tf32", 1, 384, [lae_ptx.TensorMap(Read(a), "tf32", box=[1, 1])] + args[1:])

    def test_the_page(self):
        """The example of docs/kernel-authors.md, with sum.ptx as nvcc makes it of the page's kernel."""
        here = Path(__file__).resolve().parent
        page = (here.parents[2] / "docs" / "kernel-authors.md").read_text(encoding="utf-8")
        code = page.split("```python\n")[1].split("```")[0]
        names, back = {}, os.getcwd()
        os.chdir(here)
        try:
            exec(code, names)
        finally:
            os.chdir(back)
        self.assertEqual(list(names["y"]), [128, 128, 128, 116])

    def test_what_does_not_fit(self):
        m, x = lae_ptx.Module.load(BASIC), np.zeros((4, 4), np.float32)
        with self.assertRaisesRegex(lae_ptx.Error, "contiguous"):
            Read(x[:, 1])
        with self.assertRaisesRegex(lae_ptx.Error, "float64 has 8 bytes"):
            m.run("saxpy", 1, 32, [4, np.float64(1), Read(x), Update(x)])


if __name__ == "__main__":
    unittest.main()
