// Functions of floats and sums in a pinned order, for every kernel.

#define INFINITE float_of(0x7f800000u)
// Threads of a warp, and of the blocks that reduce.
#define WARP 32u
#define REDUCERS 256u
#define WARPS (REDUCERS / WARP)

// e^x, the polynomial of `float.rs` with the same bits: 0 below about -87.7, at most about 2.2e38,
// NaN for NaN.
DEVICE float exponential(float x) {
    float biased, n, r, p;
    x = 88.3f < x ? 88.3f : x;
    x = -88.0f > x ? -88.0f : x;
    // adding 1.5 * 2^23 leaves the nearest integer in the low bits
    biased = fused(x, 1.44269504f, 12582912.0f);
    n = biased - 12582912.0f;
    r = fused(n, -0.6933594f, x);
    r = fused(n, 2.1219444e-4f, r);
    p = 1.9875691e-4f;
    p = fused(p, r, 1.3981999e-3f);
    p = fused(p, r, 8.333452e-3f);
    p = fused(p, r, 4.1665796e-2f);
    p = fused(p, r, 1.6666665e-1f);
    p = fused(p, r, 0.5f);
    p = fused(p, r * r, r) + 1.0f;
    return p * float_of((bits_of(biased) + 127u) << 23);
}

// cap * tanh(x / cap), with the bits of `soft_cap.rs`.
DEVICE float capped(float x, float cap) {
    float y = x / cap;
    return (1.0f - 2.0f / (exponential(y + y) + 1.0f)) * cap;
}

// The sum over a warp, in every thread of it:
//
//   x0 ... x15 x16 ... x31     distance 16: x0 + x16, x1 + x17, ...
//   ...                        distances 8, 4, 2, 1
DEVICE float warp_sum(float x) {
    for (int distance = 16; distance > 0; distance /= 2) {
        x = x + across(x, distance);
    }
    return x;
}

// The sum over a block of REDUCERS threads, in every thread: over the warps as above, then the warps
// in order. `scratch` has a place for each warp.
DEVICE float block_sum(float x, float *scratch) {
    x = warp_sum(x);
    BARRIER();
    if (THREAD % WARP == 0) scratch[THREAD / WARP] = x;
    BARRIER();
    x = scratch[0];
    for (u32 warp = 1; warp < WARPS; warp++) {
        x = x + scratch[warp];
    }
    return x;
}

// The largest over a block; NaN does not count unless all are.
DEVICE float block_max(float x, float *scratch) {
    for (int distance = 16; distance > 0; distance /= 2) {
        float other = across(x, distance);
        x = other > x || x != x ? other : x;
    }
    BARRIER();
    if (THREAD % WARP == 0) scratch[THREAD / WARP] = x;
    BARRIER();
    x = scratch[0];
    for (u32 warp = 1; warp < WARPS; warp++) {
        x = scratch[warp] > x || x != x ? scratch[warp] : x;
    }
    return x;
}
