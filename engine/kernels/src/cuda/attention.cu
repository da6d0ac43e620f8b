// Causal attention over a paged cache: a block of REDUCERS threads for a row and a query head.
//
//   positions   0 ............. 255 | 256 ........... 511 | 512 ... position
//   spans            span 0               span 1               span 2
//                            ^ first: what is before it, the window leaves out, and nobody reads
//
// A span at a time, in the order that `attention.rs` pins:
//   scores      a warp a position, a thread every 32nd element; warp_sum
//   largest     block_max
//   powers      thread t has position t of the span; block_sum
//   values      a thread an element, positions ascending
//   merged      onto the spans before, left to right

#define SPAN REDUCERS
#define BLOCK_TOKENS 32u

typedef struct {
    const float *q; // (rows, heads, width)
    const void *k;  // (blocks, 32, kv heads, width), of u16 or float
    const void *v;
    const u32 *tables;    // all block tables, one after the other
    const u32 *starts;    // of each row: where its table begins
    const u32 *positions; // of each row
    float *out;           // (rows, heads, width)
    u32 heads;
    u32 kv_heads;
    u32 width;
    u32 window; // positions that a row attends to, its own included
    u32 half;   // 1: the caches have 16-bit floats
    float scale;
    float cap; // of the scores; 0: none
} Attention;

DEVICE float cached(const void *cache, u64 at, u32 half) {
    return half ? half_to_float(((const u16 *)cache)[at]) : ((const float *)cache)[at];
}

// Where the cache has the first element of a position.
DEVICE u64 place(const Attention *a, const u32 *table, u32 kv_head, u32 position) {
    u64 slot = (u64)table[position / BLOCK_TOKENS] * BLOCK_TOKENS + position % BLOCK_TOKENS;
    return (slot * a->kv_heads + kv_head) * a->width;
}

KERNEL(paged_attention, Attention) {
    // the query, then the weighted values so far
    SHARED_FLOATS(vectors);
    SHARED float scores[SPAN];
    SHARED float scratch[WARPS];
    float *query = vectors;
    float *merged = vectors + a.width;
    const u32 *table = a.tables + a.starts[BLOCK_X];
    u32 position = a.positions[BLOCK_X];
    u32 first = position >= a.window ? position - a.window + 1 : 0;
    u32 kv_head = BLOCK_Y / (a.heads / a.kv_heads);
    u64 start = ((u64)BLOCK_X * a.heads + BLOCK_Y) * a.width;
    float largest = 0.0f;
    float sum = 0.0f;

    for (u32 i = THREAD; i < a.width; i += THREADS) {
        query[i] = a.q[start + i];
    }
    for (u32 span = first / SPAN; span <= position / SPAN; span++) {
        u32 from = span * SPAN > first ? span * SPAN : first;
        u32 to = span * SPAN + SPAN - 1 < position ? span * SPAN + SPAN - 1 : position;
        // the query is there, and nobody reads the last span's powers any more
        BARRIER();
        for (u32 p = span * SPAN + THREAD / WARP; p <= to; p += WARPS) {
            if (p < from) continue;
            u64 key = place(&a, table, kv_head, p);
            float score = 0.0f;
            for (u32 i = THREAD % WARP; i < a.width; i += WARP) {
                score = fused(query[i], cached(a.k, key + i, a.half), score);
            }
            score = warp_sum(score) * a.scale;
            if (a.cap != 0.0f) score = capped(score, a.cap);
            if (THREAD % WARP == 0) scores[p % SPAN] = score;
        }
        BARRIER();
        u32 own = span * SPAN + THREAD;
        u32 inside = own >= from && own <= to;
        float score = inside ? scores[THREAD] : -INFINITE;
        float span_largest = block_max(score, scratch);
        float power = inside ? exponential(score - span_largest) : 0.0f;
        float span_sum = block_sum(power, scratch);
        scores[THREAD] = power;
        BARRIER();
        // of the first span, all is kept as it is
        u32 begun = span > first / SPAN;
        float most = begun && !(span_largest > largest) ? largest : span_largest;
        float keep = begun ? exponential(largest - most) : 0.0f;
        float add = begun ? exponential(span_largest - most) : 1.0f;
        for (u32 i = THREAD; i < a.width; i += THREADS) {
            float value = 0.0f;
            for (u32 p = from; p <= to; p++) {
                u64 at = place(&a, table, kv_head, p) + i;
                value = fused(scores[p % SPAN], cached(a.v, at, a.half), value);
            }
            merged[i] = begun ? fused(merged[i], keep, value * add) : value;
        }
        sum = begun ? fused(sum, keep, span_sum * add) : span_sum;
        largest = most;
    }
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        a.out[start + i] = merged[i] / sum;
    }
}
