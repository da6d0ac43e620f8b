// Root mean square normalization: a block of REDUCERS threads a row.
//
//   x    |t0 t1 ... t255 t0 t1 ...|   thread t sums the squares of columns t, t + 256, ...
//   sum  block_sum

typedef struct {
    const float *x;      // (rows, width)
    const float *weight; // (width)
    float *out;          // (rows, width)
    u32 width;
    float epsilon;
} RmsNorm;

KERNEL(rms_norm, RmsNorm) {
    SHARED float scratch[WARPS];
    const float *x = a.x + (u64)BLOCK_X * a.width;
    float *out = a.out + (u64)BLOCK_X * a.width;
    float squares = 0.0f;
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        squares = fused(x[i], x[i], squares);
    }
    float mean = block_sum(squares, scratch) / (float)a.width;
    float inverse = 1.0f / square_root(mean + a.epsilon);
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        out[i] = x[i] * inverse * a.weight[i];
    }
}
