// Writing keys or values: a block a row, a thread an element.
//
//   rows   |row 0|row 1| ...             each `width` = kv heads * head width
//   cache  |slot 0|slot 1| ... |slot 31| slot 32 ...    a block is 32 slots

typedef struct {
    const float *rows;  // (rows, width)
    const u32 *sources; // which row is written
    const u32 *slots;   // and where; no slot comes twice
    void *cache;        // (slots, width), of u16 or float
    u32 width;
    u32 half; // 1: the cache has 16-bit floats
} WriteKv;

KERNEL(write_kv, WriteKv) {
    const float *row = a.rows + (u64)a.sources[BLOCK_X] * a.width;
    u64 start = (u64)a.slots[BLOCK_X] * a.width;
    for (u32 i = THREAD; i < a.width; i += THREADS) {
        if (a.half) {
            ((u16 *)a.cache)[start + i] = float_to_half(row[i]);
        } else {
            ((float *)a.cache)[start + i] = row[i];
        }
    }
}
