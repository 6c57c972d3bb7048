// From logits to bit rows, and the box around them: the twin of `_foreground` and `_scaled_box`.
#pragma once

#include "bit_rows.cuh"
#include "block.cuh"
#include "draws.cuh"

constexpr double MASK_STRIDE = 4;  // model pixels per cell

// Rows and columns that hold foreground, last ones included; right < left: there is none.
struct Extent {
    int left, top, right, bottom;
};

// In cells while it is built, then in model pixels.
struct Box {
    double left, top, right, bottom;
};

__device__ Extent join(const Extent& a, const Extent& b) {
    return {min(a.left, b.left), min(a.top, b.top), max(a.right, b.right),
            max(a.bottom, b.bottom)};
}

// Write the bits of logits > threshold in the valid cells, all words of all rows, and find their
// extent. A thread reads eight neighbours and writes a byte, so that a warp reads whole lines.
__device__ Extent read_rows(const float* __restrict__ logits, int side, int valid_rows,
                            int valid_columns, float threshold, const BitRows& rows,
                            Extent* scratch) {
    const int row_bytes = (side + WORD_BITS - 1) / WORD_BITS * 4;
    Extent mine = {MAX_SIDE, MAX_SIDE, -1, -1};
#pragma unroll 4
    for (int i = threadIdx.x; i < side * row_bytes; i += blockDim.x) {
        const int y = i / row_bytes, byte = i % row_bytes;
        unsigned bits = 0;
        if (y < valid_rows && byte * 8 < valid_columns) {
            for (int half = 0; half < 8; half += 4) {
                const int x = byte * 8 + half;
                if (x < valid_columns) {
                    const float4 quad = *reinterpret_cast<const float4*>(logits + y * side + x);
                    bits |= (static_cast<unsigned>(quad.x > threshold) |
                             static_cast<unsigned>(quad.y > threshold) << 1 |
                             static_cast<unsigned>(quad.z > threshold) << 2 |
                             static_cast<unsigned>(quad.w > threshold) << 3)
                            << half;
                }
            }
            bits &= span_bits({0, valid_columns - byte * 8}, 0);
        }
        reinterpret_cast<unsigned char*>(rows.row(y))[byte] = static_cast<unsigned char>(bits);
        if (bits != 0) {
            const int left = byte * 8 + __ffs(bits) - 1;
            const int right = byte * 8 + WORD_BITS - 1 - __clz(bits);
            mine = join(mine, {left, y, right, y});
        }
    }
    return fold(mine, scratch);
}

// One axis of B (eq. 7) in cells: [begin, end) scaled about its middle, clipped to the image.
__device__ void scale_span(double begin, double end, double scale, double limit, double& low,
                           double& high) {
    const double reach = (end - begin) / 2 * scale;
    const double middle = (begin + end) / 2;
    low = middle - reach > 0.0 ? middle - reach : 0.0;
    high = middle + reach < limit ? middle + reach : limit;
}

__device__ Box scaled_box(const Extent& extent, int valid_rows, int valid_columns, double low,
                          double high, unsigned long long seed) {
    Box box;
    scale_span(extent.left, extent.right + 1, low + (high - low) * uniform(seed, 2), valid_columns,
               box.left, box.right);
    scale_span(extent.top, extent.bottom + 1, low + (high - low) * uniform(seed, 3), valid_rows,
               box.top, box.bottom);
    return box;
}

// The cells whose centres lie in [low, high]. Subtracting a half is exact wherever the result is
// not rounded to the same cell anyway.
__device__ Span cells_between(double low, double high) {
    const double first = ceil(low - 0.5), last = floor(high - 0.5);
    return {static_cast<int>(fmin(first, static_cast<double>(MAX_SIDE))),
            static_cast<int>(fmax(last, -1.0)) + 1};
}

// Take away what is outside the box. Where it is not scaled nothing is.
__device__ void clip_row(const BitRows& rows, int y, Span rows_inside, Span columns_inside) {
    const bool inside = rows_inside.start <= y && y < rows_inside.stop;
    for (int word = rows.first_word; word <= rows.last_word; ++word) {
        rows.row(y)[word] &= inside ? span_bits(columns_inside, word) : 0u;
    }
}
