/* A kernel is run, a race of it is found, and wrong calls are named: what lae_ptx.h promises, from C. */
#include "lae_ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s\n%s\n", __FILE__, __LINE__, #what, lae_error());                               \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static const char *text =
    ".version 8.0\n.target sm_80\n.address_size 64\n"
    ".visible .entry reverse(.param .align 8 .b8 p[16], .param .u32 n) {\n"
    "    .reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<8>;\n"
    "    .shared .align 4 .b8 tile[256];\n"
    "    ld.param.u64 %rd1, [p]; ld.param.u64 %rd2, [p+8]; ld.param.u32 %r1, [n];\n"
    "    mov.u32 %r2, %tid.x; mul.wide.u32 %rd3, %r2, 4; add.s64 %rd4, %rd1, %rd3;\n"
    "    ld.global.u32 %r3, [%rd4]; shl.b32 %r4, %r2, 2; mov.u32 %r5, tile; add.u32 %r4, %r5, %r4; st.shared.u32 [%r4], %r3;\n"
    "    bar.sync 0;\n"
    "    sub.u32 %r6, %r1, %r2; sub.u32 %r6, %r6, 1; shl.b32 %r6, %r6, 2; add.u32 %r6, %r5, %r6; ld.shared.u32 %r7, [%r6];\n"
    "    add.s64 %rd5, %rd2, %rd3; st.global.u32 [%rd5], %r7; ret;\n"
    "}\n";

static int run(lae_machine *m, const char *ptx, uint64_t x, uint64_t y, const char *kernel) {
    lae_module *module = lae_module_parse("reverse.ptx", ptx, strlen(ptx));
    CHECK(module);
    CHECK(lae_module_kernels(module) == 1 && !strcmp(lae_module_kernel(module, 0), "reverse") && !lae_module_kernel(module, 1));
    CHECK(lae_module_parameters(module, "reverse") == 2 && lae_module_parameter_size(module, "reverse", 0) == 16);
    CHECK(lae_module_parameters(module, "no") == -1 && lae_module_check(module, "reverse") == 1);
    uint32_t one[3] = {1, 1, 1}, block[3] = {64, 1, 1}, n = 64;
    lae_launch *l = lae_launch_new(one, block, 0);
    uint64_t p[2] = {x, y};
    CHECK(lae_arg_value(l, p, sizeof p));
    CHECK(lae_arg_inside(l, 0, LAE_READ, x, 256) && lae_arg_inside(l, 8, LAE_WRITE, y, 256));
    CHECK(lae_arg_value(l, &n, sizeof n));
    int verdict = lae_run(m, module, kernel, l);
    lae_launch_free(l);
    lae_module_free(module);
    return verdict;
}

int main(void) {
    lae_machine *m = lae_machine_new();
    CHECK(lae_machine_set(m, "schedule", "random:3"));
    CHECK(!lae_machine_set(m, "schedule", "sideways") && strstr(lae_error(), "forward, reverse"));
    CHECK(!lae_machine_set(m, "speed", "high") && strstr(lae_error(), "speed"));
    uint64_t x = lae_alloc(m, "x", 256), y = lae_alloc(m, "y", 256);
    uint32_t in[64], out[64];
    for (uint32_t i = 0; i < 64; i++) in[i] = i * i;
    CHECK(lae_write(m, x, in, sizeof in) && lae_initialised(m, y, 4) == 0 && lae_initialised(m, 7, 4) == -1);
    CHECK(run(m, text, x, y, "reverse") == LAE_NO_FINDING && lae_report_instructions(m) > 0 && !*lae_report(m));
    CHECK(lae_read(m, y, out, sizeof out) && out[0] == 63 * 63 && out[63] == 0 && lae_initialised(m, y, 256) == 1);
    CHECK(!lae_read(m, y, out, 257) && strstr(lae_error(), "256"));

    char *broken = strdup(text);
    memcpy(strstr(broken, "bar.sync 0;"), "           ", 11);
    CHECK(lae_machine_set(m, "init", "off")); /* which would find it first */
    CHECK(run(m, broken, x, y, "reverse") == LAE_FINDING && !strcmp(lae_report_kind(m), "race"));
    CHECK(strstr(lae_report(m), "ld.shared.u32") && strstr(lae_report(m), "st.shared.u32"));
    CHECK(run(m, text, x, y, "revers") == LAE_WRONG_CALL && strstr(lae_report(m), "reverse"));
    CHECK(!lae_module_parse("no.ptx", "hello", 5) && strstr(lae_error(), "no.ptx"));
    CHECK(lae_free(m, x) && !lae_free(m, x));
    uint32_t one[3] = {1, 1, 1};
    lae_launch *l = lae_launch_new(one, one, 0);
    lae_tensor_map map = {.address = y, .type = 7, .rank = 2, .dims = {8, 8}, .strides = {32}, .swizzle = 32, .box = {8, 4}};
    CHECK(lae_arg_tensor_map(l, &map, 0));
    map.swizzle = 48;
    CHECK(!lae_arg_tensor_map(l, &map, 0) && strstr(lae_error(), "0, 32, 64 or 128"));
    map.swizzle = 0, map.strides[0] = 24;
    CHECK(!lae_arg_tensor_map(l, &map, 0) && strstr(lae_error(), "multiple of 16"));
    lae_launch_free(l);
    free(broken);
    lae_machine_free(m);
    puts("lae_ptx.h: ok");
    return 0;
}
