// A weight matrix in ggml's blocks, as they are in the file: its product with rows of activations,
// and its rows as floats.
//
//   weights  |block|block|...   row 0       block_columns(kind) columns a block
//            |block|block|...   row 1
//
// Product: a warp for one row of weights and TILE rows of activations; thread t of the warp has the
// columns t, t + 32, ... ascending, one fused step each; then warp_sum. Order and rounding of an
// output are the same whatever other rows there are.

// Rows of activations that share the reading of a row of weights.
#define TILE 8u

typedef struct {
    const u8 *weights;
    const float *x; // (count, columns)
    float *out;     // (count, rows)
    u32 rows;
    u32 columns;
    u32 count;
} Product;

typedef struct {
    const u8 *weights;
    const u32 *ids; // which row, one a block of threads
    float *out;     // (ids, columns)
    u32 columns;
} Rows;

DEVICE float half_at(const u8 *at) { return half_to_float(*(const u16 *)at); }

// Of the small blocks: byte j of `nibbles` has the columns j and j + 16.
DEVICE u32 nibble(const u8 *nibbles, u32 column) {
    return nibbles[column % 16] >> column / 16 * 4 & 15;
}

// A fifth bit for each of 32 columns.
DEVICE u32 fifth(const u8 *high, u32 column) { return (high[column / 8] >> column % 8 & 1) << 4; }

DEVICE float weight_f32(const u8 *b, u32 column) { return *(const float *)b; }
DEVICE float weight_f16(const u8 *b, u32 column) { return half_at(b); }
DEVICE float weight_bf16(const u8 *b, u32 column) { return float_of((u32)*(const u16 *)b << 16); }

// scale, 16 bytes of nibbles
DEVICE float weight_q4_0(const u8 *b, u32 column) {
    return half_at(b) * (float)((int)nibble(b + 2, column) - 8);
}

// scale, low, 16 bytes of nibbles
DEVICE float weight_q4_1(const u8 *b, u32 column) {
    return fused(half_at(b), (float)nibble(b + 4, column), half_at(b + 2));
}

// scale, 4 bytes of fifth bits, 16 bytes of nibbles
DEVICE float weight_q5_0(const u8 *b, u32 column) {
    return half_at(b) * (float)((int)(nibble(b + 6, column) | fifth(b + 2, column)) - 16);
}

// scale, low, 4 bytes of fifth bits, 16 bytes of nibbles
DEVICE float weight_q5_1(const u8 *b, u32 column) {
    float code = (float)(nibble(b + 8, column) | fifth(b + 4, column));
    return fused(half_at(b), code, half_at(b + 2));
}

// scale, 32 signed bytes
DEVICE float weight_q8_0(const u8 *b, u32 column) {
    return half_at(b) * (float)(signed char)b[2 + column];
}

// 16 bytes of scales and lows, 64 of 2-bit codes, scale, scale of the lows
DEVICE float weight_q2_k(const u8 *b, u32 column) {
    u32 group = column / 32;
    u32 code = b[16 + group / 4 * 32 + column % 32] >> group % 4 * 2 & 3;
    u32 packed = b[column / 16];
    float scale = half_at(b + 80) * (float)(packed & 15);
    float low = -(half_at(b + 82) * (float)(packed >> 4));
    return fused(scale, (float)code, low);
}

// 32 bytes of third bits, 64 of 2-bit codes, 16 scales of 6 bits, scale
DEVICE float weight_q3_k(const u8 *b, u32 column) {
    u32 group = column / 32;
    u32 sub = column / 16;
    u32 code = b[32 + group / 4 * 32 + column % 32] >> group % 4 * 2 & 3;
    u32 third = b[column % 32] >> group & 1;
    u32 low = b[96 + sub % 8] >> sub / 8 * 4 & 15;
    u32 high = b[104 + sub % 4] >> sub / 4 * 2 & 3;
    float scale = half_at(b + 108) * (float)((int)(low | high << 4) - 32);
    return scale * (float)((int)(code | third << 2) - 4);
}

// Scale and low `group` of 8, of 6 bits each, in 12 bytes.
DEVICE u32 scale_of(const u8 *packed, u32 group) {
    if (group < 4) return packed[group] & 63;
    return (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
}
DEVICE u32 low_of(const u8 *packed, u32 group) {
    if (group < 4) return packed[group + 4] & 63;
    return packed[group + 4] >> 4 | packed[group] >> 6 << 4;
}

// Of Q4_K and Q5_K, which begin alike: scale, scale of the lows, 8 scales and lows.
DEVICE float weight_k(const u8 *b, u32 group, u32 code) {
    float scale = half_at(b) * (float)scale_of(b + 4, group);
    float low = -(half_at(b + 2) * (float)low_of(b + 4, group));
    return fused(scale, (float)code, low);
}

// ... 128 bytes of nibbles
DEVICE float weight_q4_k(const u8 *b, u32 column) {
    u32 group = column / 32;
    return weight_k(b, group, b[16 + group / 2 * 32 + column % 32] >> group % 2 * 4 & 15);
}

// ... 32 bytes of fifth bits, 128 of nibbles
DEVICE float weight_q5_k(const u8 *b, u32 column) {
    u32 group = column / 32;
    u32 code = b[48 + group / 2 * 32 + column % 32] >> group % 2 * 4 & 15;
    return weight_k(b, group, code | (b[16 + column % 32] >> group & 1) << 4);
}

// 128 bytes of low nibbles, 64 of upper 2 bits, 16 signed scales, scale
DEVICE float weight_q6_k(const u8 *b, u32 column) {
    // each half of 128 columns has four parts of 32
    u32 side = column / 128;
    u32 part = column / 32 % 4;
    u32 low = b[side * 64 + part % 2 * 32 + column % 32] >> part / 2 * 4 & 15;
    u32 high = b[128 + side * 32 + column % 32] >> part * 2 & 3;
    float scale = half_at(b + 208) * (float)(signed char)b[192 + column / 16];
    return scale * (float)((int)(low | high << 4) - 32);
}

// The two kernels of a kind with blocks of COLUMNS columns in BYTES bytes. The sums are an array with
// constant indices, which stays in registers; rows beyond `count` are read as row 0 and not written.
#define KIND(kind, COLUMNS, BYTES)                                                                 \
    KERNEL(product_##kind, Product) {                                                              \
        u32 row = BLOCK_X * WARPS + THREAD / WARP;                                                 \
        u32 first = BLOCK_Y * TILE;                                                                \
        float sums[TILE];                                                                          \
        /* whole warps: a warp has one row of weights */                                           \
        if (row >= a.rows) return;                                                                 \
        const u8 *weights = a.weights + (u64)row * (a.columns / COLUMNS) * BYTES;                  \
        UNROLLED for (u32 i = 0; i < TILE; i++) sums[i] = 0.0f;                                    \
        for (u32 column = THREAD % WARP; column < a.columns; column += WARP) {                     \
            float w = weight_##kind(weights + (u64)(column / COLUMNS) * BYTES, column % COLUMNS);  \
            UNROLLED for (u32 i = 0; i < TILE; i++) {                                              \
                u32 at = first + i < a.count ? first + i : 0;                                      \
                sums[i] = fused(w, a.x[(u64)at * a.columns + column], sums[i]);                    \
            }                                                                                      \
        }                                                                                          \
        UNROLLED for (u32 i = 0; i < TILE; i++) {                                                  \
            float sum = warp_sum(sums[i]);                                                         \
            if (THREAD % WARP == 0 && first + i < a.count)                                         \
                a.out[(u64)(first + i) * a.rows + row] = sum;                                      \
        }                                                                                          \
    }                                                                                              \
    KERNEL(rows_##kind, Rows) {                                                                    \
        const u8 *weights = a.weights + (u64)a.ids[BLOCK_X] * (a.columns / COLUMNS) * BYTES;       \
        float *out = a.out + (u64)BLOCK_X * a.columns;                                             \
        for (u32 column = THREAD; column < a.columns; column += THREADS) {                         \
            const u8 *b = weights + (u64)(column / COLUMNS) * BYTES;                               \
            out[column] = weight_##kind(b, column % COLUMNS);                                      \
        }                                                                                          \
    }

KIND(f32, 1, 4)
KIND(f16, 1, 2)
KIND(bf16, 1, 2)
KIND(q4_0, 32, 18)
KIND(q4_1, 32, 20)
KIND(q5_0, 32, 22)
KIND(q5_1, 32, 24)
KIND(q8_0, 32, 34)
KIND(q2_k, 256, 84)
KIND(q3_k, 256, 110)
KIND(q4_k, 256, 144)
KIND(q5_k, 256, 176)
KIND(q6_k, 256, 210)
