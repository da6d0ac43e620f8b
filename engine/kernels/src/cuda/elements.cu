// Element by element: a thread an element, with the bits of the CPU.

typedef struct {
    const float *gate; // (count)
    const float *up;   // (count)
    float *out;        // (count)
    u64 count;
} Gated;

typedef struct {
    const float *x; // (count)
    float *out;     // (count)
    u64 count;
    float cap;
} SoftCap;

// gate / (1 + e^-gate) * up
KERNEL(silu_mul, Gated) {
    u64 i = (u64)BLOCK_X * THREADS + THREAD;
    if (i >= a.count) return;
    float gate = a.gate[i];
    a.out[i] = gate / (1.0f + exponential(0.0f - gate)) * a.up[i];
}

// gate / (1 + e^-2u) * up, with u = sqrt(2 / pi) (gate + 0.044715 gate^3)
KERNEL(gelu_mul, Gated) {
    u64 i = (u64)BLOCK_X * THREADS + THREAD;
    if (i >= a.count) return;
    float gate = a.gate[i];
    float twice = gate * fused(gate * gate, -0.071354814f, -1.5957691f);
    a.out[i] = gate / (1.0f + exponential(twice)) * a.up[i];
}

KERNEL(soft_cap, SoftCap) {
    u64 i = (u64)BLOCK_X * THREADS + THREAD;
    if (i < a.count) a.out[i] = capped(a.x[i], a.cap);
}
