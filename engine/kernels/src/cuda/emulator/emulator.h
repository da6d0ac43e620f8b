/* The words of `gpu.cuh` on a CPU, in plain C: tests put this before the kernels and compile both.
 *
 * A block of threads is a round of coroutines. Each runs until it waits: at a barrier for the block, in
 * `across` for its warp. What CUDA leaves undefined ends the process with a message: threads that have
 * ended while their warp exchanges, a block that waits for ever. Shared memory is full of NaN when a
 * block begins. */
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define THREADS_MAX 1024
#define STACK_BYTES 65536
#define SHARED_FLOATS_MAX 12288

typedef enum { READY, AT_BARRIER, EXCHANGING, ENDED } State;

static struct {
    ucontext_t start;
    jmp_buf place;
    int begun;
    State state;
    int turn;
    float given[2]; /* of this exchange and the one before, which others may still read */
} threads[THREADS_MAX];
static char stacks[THREADS_MAX][STACK_BYTES];
static ucontext_t scheduler_context;
static jmp_buf scheduler;
static u32 thread, thread_count, block_x, block_y;
static float dynamic_shared[SHARED_FLOATS_MAX];
static void (*kernel)(const void *);
static const void *kernel_arguments;

#define DEVICE static inline __attribute__((unused))
#define SHARED static __attribute__((section("gpu_shared")))
#define SHARED_FLOATS(name) float *const name = dynamic_shared
#define UNROLLED
#define KERNEL(name, Arguments)                                                                    \
    static void name##_body(const Arguments a);                                                    \
    void name(const void *arguments) { name##_body(*(const Arguments *)arguments); }               \
    static void name##_body(const Arguments a)

#define THREAD thread
#define THREADS thread_count
#define BLOCK_X block_x
#define BLOCK_Y block_y
#define BARRIER() wait_as(AT_BARRIER)

static void undefined(const char *what) {
    fprintf(stderr, "emulator: block (%u, %u): %s\n", block_x, block_y, what);
    abort();
}

static __attribute__((noinline)) void wait_as(State state) {
    u32 self = thread;
    threads[self].state = state;
    if (!_setjmp(threads[self].place)) _longjmp(scheduler, 1);
}

static __attribute__((noinline)) float across(float x, int distance) {
    u32 self = thread;
    threads[self].turn ^= 1;
    threads[self].given[threads[self].turn] = x;
    wait_as(EXCHANGING);
    return threads[self ^ (u32)distance].given[threads[self].turn];
}

static void begin(void) {
    kernel(kernel_arguments);
    threads[thread].state = ENDED;
    _longjmp(scheduler, 1);
}

static __attribute__((noinline)) void resume(u32 number) {
    if (_setjmp(scheduler)) return;
    thread = number;
    if (threads[number].begun) _longjmp(threads[number].place, 1);
    threads[number].begun = 1;
    setcontext(&threads[number].start);
}

/* Lets a warp go on whose threads are all in `across`; whether it did. */
static int release_warp(u32 first) {
    u32 exchanging = 0, ended = 0;
    for (u32 i = first; i < first + 32; i++) {
        exchanging += threads[i].state == EXCHANGING;
        ended += threads[i].state == ENDED;
    }
    if (exchanging && ended) undefined("an exchange with threads that have ended");
    if (exchanging < 32) return 0;
    for (u32 i = first; i < first + 32; i++) threads[i].state = READY;
    return 1;
}

/* Lets the block go on when all of it that has not ended is at the barrier; whether it did. */
static int release_block(void) {
    u32 waiting = 0, ended = 0;
    for (u32 i = 0; i < thread_count; i++) {
        waiting += threads[i].state == AT_BARRIER;
        ended += threads[i].state == ENDED;
    }
    if (!waiting || waiting + ended < thread_count) return 0;
    for (u32 i = 0; i < thread_count; i++) {
        if (threads[i].state == AT_BARRIER) threads[i].state = READY;
    }
    return 1;
}

extern char __start_gpu_shared[], __stop_gpu_shared[];

static void run_block(void) {
    memset(__start_gpu_shared, 0xff, (size_t)(__stop_gpu_shared - __start_gpu_shared));
    memset(dynamic_shared, 0xff, sizeof dynamic_shared);
    for (u32 i = 0; i < thread_count; i++) {
        threads[i].begun = 0;
        threads[i].state = READY;
        getcontext(&threads[i].start);
        threads[i].start.uc_stack.ss_sp = stacks[i];
        threads[i].start.uc_stack.ss_size = STACK_BYTES;
        threads[i].start.uc_link = &scheduler_context;
        makecontext(&threads[i].start, begin, 0);
    }
    for (;;) {
        u32 ended = 0;
        int moved = 0;
        for (u32 i = 0; i < thread_count; i++) {
            for (; threads[i].state == READY; moved = 1) resume(i);
            ended += threads[i].state == ENDED;
        }
        if (ended == thread_count) return;
        for (u32 first = 0; first < thread_count; first += 32) moved |= release_warp(first);
        moved |= release_block();
        if (!moved) undefined("the threads wait for each other");
    }
}

/* Runs a kernel over a grid, the last block first: their order must not matter. */
void emulate(void (*what)(const void *), const void *arguments, u32 across_count, u32 down_count,
             u32 threads_a_block, u32 shared_floats) {
    if (threads_a_block > THREADS_MAX || threads_a_block % 32 || shared_floats > SHARED_FLOATS_MAX)
        undefined("a launch that no GPU takes");
    kernel = what;
    kernel_arguments = arguments;
    thread_count = threads_a_block;
    for (block_y = down_count; block_y-- > 0;) {
        for (block_x = across_count; block_x-- > 0;) run_block();
    }
}

DEVICE float fused(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE float square_root(float x) { return sqrtf(x); }

DEVICE u32 bits_of(float x) {
    u32 bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

DEVICE float float_of(u32 bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

DEVICE float half_to_float(u16 bits) {
    u32 exponent = bits >> 10 & 31, mantissa = bits & 1023;
    float size = exponent == 31  ? (mantissa ? NAN : INFINITY)
                 : exponent == 0 ? ldexpf((float)mantissa, -24)
                                 : ldexpf((float)(1024 + mantissa), (int)exponent - 25);
    return bits >> 15 ? -size : size;
}

/* To the nearest, ties to even: `nearbyintf` does that to a number whose unit is the last place. */
DEVICE u16 float_to_half(float x) {
    u16 sign = (u16)(bits_of(x) >> 31 << 15);
    float size = fabsf(x);
    int exponent;
    if (size != size) return sign | 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size < 6.103515625e-5f) return sign | (u16)nearbyintf(ldexpf(size, 24));
    frexpf(size, &exponent);
    /* a mantissa that rounds up to 2048 carries into the exponent, as it should */
    return sign | (u16)((u32)(exponent + 13 << 10) + (u32)nearbyintf(ldexpf(size, 11 - exponent)));
}
