/* A PTX emulator that checks what CUDA kernels do: memory, races, barriers, uninitialised values. No GPU is needed.
 *
 *     cargo build --release -p lae-ptx-c         target/release/liblae_ptx_c.so (.dylib, .dll) and liblae_ptx_c.a
 *     cc program.c -Iptx/c/include -Ltarget/release -llae_ptx_c
 *
 * Functions that can fail return 0 (or a null pointer, where they return one); lae_error() then says why, in the calling thread,
 * until its next call. A machine, a module or a launch may be used by one thread at a time. Texts are UTF-8.
 */
#ifndef LAE_PTX_H
#define LAE_PTX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lae_module lae_module;   /* a PTX file */
typedef struct lae_machine lae_machine; /* memory, and how kernels are run */
typedef struct lae_launch lae_launch;   /* grid, block and arguments */

/* What the last failed call in this thread was about. Never null. */
const char *lae_error(void);

/* ---- modules ---- */

/* Reads PTX text of `length` bytes; the name is for messages. */
lae_module *lae_module_parse(const char *name, const char *text, size_t length);
void lae_module_free(lae_module *module);
/* Kernels, by number from 0; null beyond the last. The text lives as long as the module. */
size_t lae_module_kernels(const lae_module *module);
const char *lae_module_kernel(const lae_module *module, size_t i);
/* Number of parameters of a kernel, and bytes of one; -1 if there is no such kernel or parameter. */
int lae_module_parameters(const lae_module *module, const char *kernel);
int lae_module_parameter_size(const lae_module *module, const char *kernel, size_t i);
/* 1 if the kernel can be run; 0 if it holds something that is not supported (lae_error() names it). */
int lae_module_check(const lae_module *module, const char *kernel);

/* ---- machines ---- */

lae_machine *lae_machine_new(void);
void lae_machine_free(lae_machine *machine);
/* Keys and values: schedule = forward | reverse | random:SEED; init, race, tf32 = on | off; truncation = recognised | never;
 * fences = usual | all;
 * tensor = ideal | ampere | hopper; perturb = off | SEED; copies = late | eager; counters = on | off; budget = N (warp
 * instructions); threads = N (0: all cores); resident = N (blocks on the machine at once); max_shared = BYTES. */
int lae_machine_set(lae_machine *machine, const char *key, const char *value);

/* Memory of so many bytes, which nothing has written. Returns its address, 0 if there is not so much memory. */
uint64_t lae_alloc(lae_machine *machine, const char *name, uint64_t bytes);
int lae_free(lae_machine *machine, uint64_t address);
int lae_write(lae_machine *machine, uint64_t address, const void *data, uint64_t bytes);
/* Uninitialised bytes are copied as they are. */
int lae_read(const lae_machine *machine, uint64_t address, void *data, uint64_t bytes);
/* 1 if every byte was written, 0 if not, -1 if there is no such memory. */
int lae_initialised(const lae_machine *machine, uint64_t address, uint64_t bytes);
/* Address of a __device__ or __constant__ variable, 0 if there is none; its size in bytes, if `bytes` is not null. */
uint64_t lae_symbol(lae_machine *machine, const lae_module *module, const char *name, uint64_t *bytes);

/* ---- launches ---- */

lae_launch *lae_launch_new(const uint32_t grid[3], const uint32_t block[3], uint32_t dynamic_shared);
void lae_launch_free(lae_launch *launch);

enum { LAE_READ = 0, LAE_WRITE = 1, LAE_UPDATE = 2 };
/* The next argument: a pointer to `bytes` bytes, which the kernel may read, fill, or read and change; it may touch no others. */
int lae_arg_pointer(lae_launch *launch, int access, uint64_t address, uint64_t bytes);
int lae_arg_null(lae_launch *launch);
/* The next argument: a number or a struct, as it lies in memory. */
int lae_arg_value(lae_launch *launch, const void *value, size_t bytes);
/* A pointer inside the last argument, which must be a struct: `offset` bytes from its beginning. */
int lae_arg_inside(lae_launch *launch, size_t offset, int access, uint64_t address, uint64_t bytes);
/* A tensor map by value (CUtensorMap), with the rules by which the driver refuses one. Dimensions from the contiguous one on. */
typedef struct lae_tensor_map {
    uint64_t address;      /* a multiple of 16 */
    uint32_t type;         /* as CUtensorMapDataType numbers them: 7 is f32, 9 bf16, 11 tf32 */
    uint32_t rank;
    uint64_t dims[5];      /* elements */
    uint64_t strides[4];   /* bytes, from the second dimension on */
    uint32_t steps[5];     /* every so-many-th element; 0 is 1 */
    uint32_t swizzle;      /* bytes: 0, 32, 64, 128 */
    uint32_t nan;          /* what lies outside is NaN, not zero */
    uint32_t im2col;       /* 0: `box` counts; else corners, channels and pixels */
    uint32_t box[5];
    int32_t lower[3], upper[3];
    uint32_t channels, pixels;
} lae_tensor_map;
/* The next argument; with `store`, the kernel may write through it. */
int lae_arg_tensor_map(lae_launch *launch, const lae_tensor_map *map, int store);
/* Memory that the kernel reaches otherwise: through a table, or a pointer in a variable. */
int lae_also(lae_launch *launch, int access, uint64_t address, uint64_t bytes);

enum { LAE_NO_FINDING = 0, LAE_FINDING = 1, LAE_WRONG_CALL = 2 };
/* Runs a kernel to its end, or to the first finding. LAE_FINDING: lae_report() tells what, where and by which thread.
 * LAE_WRONG_CALL: the kernel is not there or not supported, or the arguments do not fit; lae_report() says which. */
int lae_run(lae_machine *machine, const lae_module *module, const char *kernel, const lae_launch *launch);
/* The report of the last run of this machine: of a finding, one word for its kind (race, out-of-bounds, uninitialised, …) and
 * the whole text. Empty texts if there was none. They live until the next run of this machine. */
const char *lae_report(const lae_machine *machine);
const char *lae_report_kind(const lae_machine *machine);
/* Warp instructions of the last run. */
uint64_t lae_report_instructions(const lae_machine *machine);

#ifdef __cplusplus
}
#endif
#endif
