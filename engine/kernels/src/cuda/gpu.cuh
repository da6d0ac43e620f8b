// What the kernels are written in, on a GPU. `emulator/emulator.h` has the same words for a CPU, so
// that tests can run the kernels where there is no GPU: kernels use these words, operators on floats
// and integers, and nothing else of CUDA or C++.
//
// Compiled with --fmad=false: a product and a sum are rounded apart unless `fused` says otherwise.
// Division and square root are IEEE's, which is NVRTC's default. So the bits depend neither on the
// compiler nor on the GPU.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// A function that the host launches, with one structure of arguments named `a`. The structures are
// mirrored in `cuda/launch.rs`.
#define KERNEL(name, Arguments) extern "C" __global__ void name(const Arguments a)
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
// Shared memory whose size the launch says.
#define SHARED_FLOATS(name) extern __shared__ float name[]

#define THREAD ((u32)threadIdx.x)
#define THREADS ((u32)blockDim.x)
#define BLOCK_X ((u32)blockIdx.x)
#define BLOCK_Y ((u32)blockIdx.y)

// All threads of a block have come here, and see what the others wrote.
#define BARRIER() __syncthreads()

// `x` of the thread of the same warp whose number differs in the bits of `distance`.
DEVICE float across(float x, int distance) { return __shfl_xor_sync(0xffffffffu, x, distance); }

// a * b + c, rounded once.
DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }

// Before a loop whose count is known: its variables stay in registers.
#define UNROLLED _Pragma("unroll")

DEVICE float square_root(float x) { return __fsqrt_rn(x); }

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

DEVICE float half_to_float(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

// To the nearest, ties to even.
DEVICE u16 float_to_half(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
