// A driver without a GPU, for the tests of src/device/{probe,cuda}.rs. Memory is the host's. Streams run as late as is legal: work
// waits until somebody waits for it, so that a missing wait gives wrong values here, and always. Work on memory that was given back
// is an illegal address. Every kernel can be launched; fill_fwd_f32 does its work, the others nothing.
//
//   FAKE_INIT=100  FAKE_VERSION=12040  FAKE_COUNT=2  FAKE_ARCH=90     what the probe meets
//   FAKE_FAIL=cuMemAlloc_v2:2[:3]      that function returns 2 (at its third call)
//   FAKE_FAULT=1                       the kernel runs into an illegal address
//   FAKE_LOG=FILE                      the calls, one a line
//   -DEMPTY                            a library of that name with nothing in it
#ifdef EMPTY
int nothing;
#else
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
enum { OK = 0, INVALID = 1, OOM = 2, NOT_FOUND = 500, ILLEGAL = 700, UNSUPPORTED_IN_CAPTURE = 900 };

static int number(const char *name, int otherwise) {
    const char *v = getenv(name);
    return v && *v ? atoi(v) : otherwise;
}

static void note(const char *text) {
    const char *file = getenv("FAKE_LOG");
    FILE *f = file ? fopen(file, "a") : 0;
    if (f) fprintf(f, "%s\n", text), fclose(f);
}

// Note the call; the code that FAKE_FAIL wants of it.
static R entered(const char *name) {
    static int calls;
    note(name);
    const char *fail = getenv("FAKE_FAIL");
    size_t n = strlen(name);
    if (!fail || strncmp(fail, name, n) || fail[n] != ':') return OK;
    int code = 0, at = 0;
    sscanf(fail + n, ":%d:%d", &code, &at);
    return at == 0 || ++calls == at ? code : OK;
}
#define ENTER(name) do { R r_ = entered(#name); if (r_) return r_; } while (0)

// ---- memory
typedef struct { char *p; size_t n; int live; } Memory;
static Memory memory[4096];
static int memories;
static R sticky; // an error that only a new process gets rid of
static int capturing;

static Memory *within(uint64_t p, size_t n) {
    for (int i = 0; i < memories; i++)
        if (memory[i].live && p >= (uint64_t)memory[i].p && p + n <= (uint64_t)memory[i].p + memory[i].n) return &memory[i];
    return 0;
}
static R allocate(size_t n, void **out) {
    if (capturing) return UNSUPPORTED_IN_CAPTURE;
    if (n > (1u << 30)) return OOM;
    char *p = aligned_alloc(512, (n + 511) / 512 * 512);
    memset(p, 0xA5, n);
    memory[memories++] = (Memory){p, n, 1};
    *out = p;
    return OK;
}
// Not returned to the system, so that its address stays nobody else's.
static R give_back(uint64_t p) {
    Memory *m = within(p, 1);
    if (!m || (uint64_t)m->p != p) return INVALID;
    memset(m->p, 0xEE, m->n);
    m->live = 0;
    return OK;
}

// ---- streams: lists of work, done later
typedef struct Stream Stream;
typedef struct { const char *name; int shared; } Function;
typedef struct {
    enum { COPY, KERNEL, WAIT } kind;
    uint64_t dst, src; // COPY
    size_t n;
    int down;
    uint64_t y;        // KERNEL
    uint32_t count;
    float value;
    Stream *on;        // WAIT
    int upto;
} Work;
struct Stream { Work *work; int n, done, capturing; };
typedef struct { Stream *on; int upto; } Event;
typedef struct { Work *work; int n; } Graph;
static Stream *streams[64];
static int stream_count;

static void push(Stream *s, Work w) {
    s->work = realloc(s->work, (s->n + 1) * sizeof(Work));
    s->work[s->n++] = w;
}
static void drain(Stream *s, int upto) {
    while (s->done < upto) {
        Work w = s->work[s->done++];
        if (sticky) continue;
        if (w.kind == WAIT) drain(w.on, w.upto);
        if (w.kind == COPY) {
            // What comes down goes to the caller's own memory; what goes up must come from pinned memory.
            if (!within(w.src, w.n) || (!w.down && !within(w.dst, w.n))) sticky = ILLEGAL;
            else memcpy((void *)w.dst, (void *)w.src, w.n);
        }
        if (w.kind == KERNEL) {
            if (!within(w.y, 4ul * w.count) || number("FAKE_FAULT", 0)) sticky = ILLEGAL;
            else for (uint32_t i = 0; i < w.count; i++) ((float *)w.y)[i] = w.value;
        }
    }
}

// ---- what the probe asks
R cuInit(unsigned flags) { ENTER(cuInit); return number("FAKE_INIT", 0); }
R cuDriverGetVersion(int *v) { ENTER(cuDriverGetVersion); *v = number("FAKE_VERSION", 12040); return OK; }
R cuDeviceGetCount(int *n) { ENTER(cuDeviceGetCount); *n = number("FAKE_COUNT", 1); return OK; }
R cuDeviceGet(int *d, int i) { ENTER(cuDeviceGet); *d = i; return i < number("FAKE_COUNT", 1) ? OK : 101; }
R cuDeviceGetName(char *s, int n, int d) { ENTER(cuDeviceGetName); snprintf(s, n, "Fake %d", d); return OK; }
R cuDeviceTotalMem_v2(size_t *n, int d) { ENTER(cuDeviceTotalMem_v2); *n = 3ul << 30; return OK; }
R cuDeviceGetAttribute(int *v, int a, int d) {
    ENTER(cuDeviceGetAttribute);
    int arch = number("FAKE_ARCH", 90);
    *v = a == 75 ? arch / 10 : a == 76 ? arch % 10 : a == 97 ? 100 * 1024 : 0;
    return OK;
}

// ---- contexts
static void *current;
R cuDevicePrimaryCtxRetain(void **c, int d) { ENTER(cuDevicePrimaryCtxRetain); *c = (void *)0x100; return OK; }
R cuDevicePrimaryCtxRelease_v2(int d) { ENTER(cuDevicePrimaryCtxRelease_v2); return OK; }
R cuCtxGetCurrent(void **c) { *c = current; return OK; }
R cuCtxSetCurrent(void *c) { current = c; return OK; }
R cuCtxSynchronize(void) {
    ENTER(cuCtxSynchronize);
    if (capturing) return UNSUPPORTED_IN_CAPTURE;
    for (int i = 0; i < stream_count; i++) drain(streams[i], streams[i]->n);
    return sticky;
}

R cuMemAlloc_v2(uint64_t *p, size_t n) { ENTER(cuMemAlloc_v2); return allocate(n, (void **)p); }
R cuMemFree_v2(uint64_t p) { ENTER(cuMemFree_v2); return give_back(p); }
R cuMemHostAlloc(void **p, size_t n, unsigned f) { ENTER(cuMemHostAlloc); return allocate(n, p); }
R cuMemFreeHost(void *p) { ENTER(cuMemFreeHost); return give_back((uint64_t)p); }
R cuMemGetInfo_v2(size_t *free, size_t *all) { ENTER(cuMemGetInfo_v2); *free = 1ul << 30; *all = 3ul << 30; return OK; }

static R copy(uint64_t dst, uint64_t src, size_t n, int down, Stream *s) {
    push(s, (Work){.kind = COPY, .dst = dst, .src = src, .n = n, .down = down});
    return sticky;
}
R cuMemcpyHtoDAsync_v2(uint64_t d, const void *h, size_t n, Stream *s) { ENTER(cuMemcpyHtoDAsync_v2); return copy(d, (uint64_t)h, n, 0, s); }
R cuMemcpyDtoHAsync_v2(void *h, uint64_t d, size_t n, Stream *s) { ENTER(cuMemcpyDtoHAsync_v2); return copy((uint64_t)h, d, n, 1, s); }
R cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t e, size_t n, Stream *s) { ENTER(cuMemcpyDtoDAsync_v2); return copy(d, e, n, 0, s); }

// ---- modules and launches
R cuModuleLoadDataEx(void **m, const void *image, unsigned n, int *options, void **values) {
    ENTER(cuModuleLoadDataEx);
    if (capturing) return UNSUPPORTED_IN_CAPTURE;
    const char *text = image;
    if (memcmp(text, "\177ELF", 4) == 0) {
        note("machine code");
    } else {
        note("PTX");
        // Text must end: strstr stops at the zero.
        if (!strstr(text, ".version")) return 218;
        int refuse = number("FAKE_PTX", 0);
        if (refuse) {
            for (unsigned i = 0; i < n; i++) if (options[i] == 5) strcpy(values[i], "ptxas fatal: the fake does not like it\n");
            return refuse;
        }
    }
    // A copy: the image is the caller's, and may be gone after the call.
    *m = strdup(memcmp(text, "\177ELF", 4) == 0 ? "" : text);
    return OK;
}
R cuModuleUnload(void *m) { ENTER(cuModuleUnload); return OK; }
R cuModuleGetFunction(Function **f, void *m, const char *name) {
    ENTER(cuModuleGetFunction);
    if (*(char *)m && !strstr(m, name)) return NOT_FOUND;
    *f = malloc(sizeof(Function));
    **f = (Function){strdup(name), 48 * 1024};
    return OK;
}
R cuFuncSetAttribute(Function *f, int attribute, int value) {
    ENTER(cuFuncSetAttribute);
    if (attribute != 8) return INVALID;
    f->shared = value;
    return OK;
}
R cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Stream *s,
                 void **params, void **extra) {
    ENTER(cuLaunchKernel);
    if ((int)shared > f->shared || bx * by * bz > 1024 || extra) return INVALID;
    if (strncmp(f->name, "map_", 4) == 0) {
        uint64_t map[16];
        memcpy(map, params[0], 128);
        char text[400], *end = text;
        for (int i = 1; i < 16; i++) end += sprintf(end, "%s%lx", i > 1 ? " " : "", map[i]);
        note(text);
        note(within(map[0], 1) ? "the map's address is memory" : "the map's address is none");
    }
    if (strcmp(f->name, "fill_fwd_f32")) return sticky;
    struct { uint32_t count; float value; } p;
    memcpy(&p, params[1], sizeof p);
    push(s, (Work){.kind = KERNEL, .y = *(uint64_t *)params[0], .count = p.count, .value = p.value});
    return sticky;
}

// ---- tensor maps: what was asked for, in words of the fake's own, which a kernel whose name begins with map_ logs
//   address | type, rank, swizzle, im2col, a byte each | sizes | strides | box: sides, or (channels, pixels) | step 1 | corners
static R encode(uint64_t *out, int type, unsigned rank, void *p, const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                const short *corners, const uint32_t *steps, int interleave, int swizzle, int fill) {
    if ((uint64_t)out % 64 || (uint64_t)p % 16 || rank < 3 || rank > 4 || interleave || fill || !within((uint64_t)p, 1)) return INVALID;
    memset(out, 0, 128);
    out[0] = (uint64_t)p, out[1] = type | rank << 8 | swizzle << 16 | (corners != 0) << 24;
    for (unsigned i = 0; i < rank; i++) out[2 + i] = dims[i];
    for (unsigned i = 0; i + 1 < rank; i++) out[6 + i] = strides[i];
    for (unsigned i = 0; i < (corners ? 2 : rank); i++) out[9 + i] = box[i];
    out[13] = steps[1];
    if (corners) memcpy(&out[14], corners, 8);
    return OK;
}
R cuTensorMapEncodeTiled(uint64_t *out, int type, unsigned rank, void *p, const uint64_t *dims, const uint64_t *strides,
                         const uint32_t *box, const uint32_t *steps, int interleave, int swizzle, int promotion, int fill) {
    ENTER(cuTensorMapEncodeTiled);
    return encode(out, type, rank, p, dims, strides, box, 0, steps, interleave, swizzle, fill);
}
R cuTensorMapEncodeIm2col(uint64_t *out, int type, unsigned rank, void *p, const uint64_t *dims, const uint64_t *strides,
                          const int *lower, const int *upper, unsigned channels, unsigned pixels, const uint32_t *steps, int interleave,
                          int swizzle, int promotion, int fill) {
    ENTER(cuTensorMapEncodeIm2col);
    if (rank != 4) return INVALID;
    uint32_t box[2] = {channels, pixels};
    short corners[4] = {lower[0], lower[1], upper[0], upper[1]};
    return encode(out, type, rank, p, dims, strides, box, corners, steps, interleave, swizzle, fill);
}

// ---- streams, events, graphs
R cuStreamCreate(Stream **s, unsigned flags) {
    ENTER(cuStreamCreate);
    if (flags != 1) note("a stream that waits for the default stream");
    *s = streams[stream_count++] = calloc(1, sizeof(Stream));
    return OK;
}
R cuStreamDestroy_v2(Stream *s) { ENTER(cuStreamDestroy_v2); return OK; }
R cuStreamSynchronize(Stream *s) {
    ENTER(cuStreamSynchronize);
    if (capturing) return UNSUPPORTED_IN_CAPTURE;
    drain(s, s->n);
    return sticky;
}
R cuEventCreate(Event **e, unsigned flags) { ENTER(cuEventCreate); *e = calloc(1, sizeof(Event)); return OK; }
R cuEventDestroy_v2(Event *e) { ENTER(cuEventDestroy_v2); return OK; }
R cuEventRecord(Event *e, Stream *s) { ENTER(cuEventRecord); e->on = s; e->upto = s->n; return OK; }
R cuEventSynchronize(Event *e) {
    ENTER(cuEventSynchronize);
    if (capturing) return UNSUPPORTED_IN_CAPTURE;
    if (e->on) drain(e->on, e->upto);
    return sticky;
}
R cuStreamWaitEvent(Stream *s, Event *e, unsigned flags) {
    ENTER(cuStreamWaitEvent);
    if (e->on) push(s, (Work){.kind = WAIT, .on = e->on, .upto = e->upto});
    return OK;
}
static Stream before; // what the stream held when the capture began
R cuStreamBeginCapture_v2(Stream *s, int mode) {
    ENTER(cuStreamBeginCapture_v2);
    before = *s;
    *s = (Stream){.capturing = 1};
    capturing = 1;
    return OK;
}
R cuStreamEndCapture(Stream *s, Graph **g) {
    ENTER(cuStreamEndCapture);
    *g = malloc(sizeof(Graph));
    **g = (Graph){s->work, s->n};
    *s = before;
    capturing = 0;
    return OK;
}
R cuGraphInstantiateWithFlags(Graph **exec, Graph *g, unsigned long long flags) { ENTER(cuGraphInstantiateWithFlags); *exec = g; return OK; }
R cuGraphLaunch(Graph *g, Stream *s) {
    ENTER(cuGraphLaunch);
    for (int i = 0; i < g->n; i++) push(s, g->work[i]);
    return sticky;
}
R cuGraphExecDestroy(Graph *g) { ENTER(cuGraphExecDestroy); return OK; }
R cuGraphDestroy(Graph *g) { ENTER(cuGraphDestroy); return OK; }
#endif
