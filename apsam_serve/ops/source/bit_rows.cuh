// A mask as one bit per pixel, 32 pixels of a row per word, the left-most in the lowest bit.
//
// The reference keeps the runs of a mask (contract/runs.py), as many as there are; here a count or a
// sum over columns [start, stop) is a handful of population counts, and a 256 x 256 mask is 9 KB of
// shared memory, whatever is on it.
#pragma once

constexpr int MAX_SIDE = 256;
constexpr int WORD_BITS = 32;
constexpr int MAX_STRIDE = MAX_SIDE / WORD_BITS + 1;

// Columns of a row: [start, stop).
struct Span {
    int start, stop;
};

// First and last pixel of a row; left is -1 where there is none.
struct Run {
    short left, right;
};

// Rows [top, bottom) and words [first_word, last_word] of a row hold every pixel. Threads own rows:
// row top + k belongs to thread k modulo the block, which alone writes what is kept per row.
struct BitRows {
    unsigned* words;
    int stride;
    int top, bottom;
    int first_word, last_word;

    __device__ unsigned* row(int y) const { return words + y * stride; }
};

// Words from row to row: odd, so that 32 threads with a row each read from 32 different banks.
__device__ int row_stride(int side) { return ((side + WORD_BITS - 1) / WORD_BITS) | 1; }

// The bits of columns [start, stop) in word number `word` of a row.
__device__ unsigned span_bits(Span span, int word) {
    const int from = max(span.start - word * WORD_BITS, 0);
    const int to = min(span.stop - word * WORD_BITS, WORD_BITS);
    return from < to ? (~0u << from) & (~0u >> (WORD_BITS - to)) : 0u;
}

// Sum of the positions (0 to 31) of the set bits: bit b of a position is set in every bit of
// plane b, so the sum is that of 2^b times the set bits in plane b.
__device__ int sum_positions(unsigned bits) {
    return __popc(bits & 0xaaaaaaaau) + 2 * __popc(bits & 0xccccccccu) +
           4 * __popc(bits & 0xf0f0f0f0u) + 8 * __popc(bits & 0xff00ff00u) +
           16 * __popc(bits & 0xffff0000u);
}

// Sum of the squared positions: the same by pairs of planes.
__device__ int sum_squares(unsigned bits) {
    const unsigned planes[5] = {0xaaaaaaaau, 0xccccccccu, 0xf0f0f0f0u, 0xff00ff00u, 0xffff0000u};
    int sum = 0;
#pragma unroll
    for (int b = 0; b < 5; ++b) {
        const unsigned in_b = bits & planes[b];
        sum += __popc(in_b) << (2 * b);
#pragma unroll
        for (int c = 0; c < b; ++c) {
            sum += __popc(in_b & planes[c]) << (b + c + 1);
        }
    }
    return sum;
}

// First and last pixel of row y inside the span, or outside of it.
__device__ Run row_extremes(const BitRows& rows, int y, Span span, bool inside) {
    int left = -1, right = -1;
    for (int word = rows.first_word; word <= rows.last_word; ++word) {
        const unsigned chosen = span_bits(span, word);
        const unsigned bits = rows.row(y)[word] & (inside ? chosen : ~chosen);
        if (bits != 0) {
            left = left < 0 ? word * WORD_BITS + __ffs(bits) - 1 : left;
            right = word * WORD_BITS + WORD_BITS - 1 - __clz(bits);
        }
    }
    return {static_cast<short>(left), static_cast<short>(right)};
}
