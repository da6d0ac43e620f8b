// Rotary position embedding: a block a row and head, a thread an element.
//
//   interleaved  |a0 b0 a1 b1 ... | stays |     pair i turns by the row's angle i:
//   halves       |a0 a1 ... b0 b1 | stays |     (a c - b s, a s + b c)

typedef struct {
    const float *x;       // (rows, heads, width)
    const float *turns;   // position by position: `pairs` cosines, then `pairs` sines
    const u32 *positions; // (rows)
    float *out;           // (rows, heads, width)
    u32 heads;
    u32 width;
    u32 pairs;
    u32 halves; // 1: "halves", 0: "interleaved"
} Rope;

KERNEL(rope, Rope) {
    u64 start = ((u64)BLOCK_X * a.heads + BLOCK_Y) * a.width;
    const float *x = a.x + start;
    const float *cosines = a.turns + (u64)a.positions[BLOCK_X] * 2 * a.pairs;
    const float *sines = cosines + a.pairs;
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        float y = x[i];
        if (i < 2 * a.pairs) {
            u32 pair = a.halves ? i % a.pairs : i / 2;
            u32 second = a.halves ? i / a.pairs : i % 2;
            float p = x[a.halves ? pair : 2 * pair];
            float q = x[a.halves ? pair + a.pairs : 2 * pair + 1];
            y = second ? p * sines[pair] + q * cosines[pair] : p * cosines[pair] - q * sines[pair];
        }
        a.out[start + i] = y;
    }
}
