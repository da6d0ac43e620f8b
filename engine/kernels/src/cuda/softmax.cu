// Softmax: a block of REDUCERS threads a row; thread t has columns t, t + 256, ...

typedef struct {
    const float *x; // (rows, width)
    float *out;     // (rows, width)
    u32 width;
} Softmax;

KERNEL(softmax, Softmax) {
    SHARED float scratch[WARPS];
    const float *x = a.x + (u64)BLOCK_X * a.width;
    float *out = a.out + (u64)BLOCK_X * a.width;
    float largest = -INFINITE;
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        largest = x[i] > largest ? x[i] : largest;
    }
    largest = block_max(largest, scratch);
    float sum = 0.0f;
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        float power = exponential(x[i] - largest);
        out[i] = power;
        sum = sum + power;
    }
    sum = block_sum(sum, scratch);
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        out[i] = out[i] / sum;
    }
}
