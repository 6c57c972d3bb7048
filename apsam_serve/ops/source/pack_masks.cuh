// Logits to mask bits of the image: the twin of `mask_from_logits` and `pack_bits` before zlib in
// contract/masks.py. The reference leaves out pixels without a positive cell beside them; computing
// them gives the same, because no interpolation of numbers up to 0 rounds to more than 0.
#pragma once

#include "foreground.cuh"

constexpr int PACK_THREADS = 256;

// Where a pixel lies on one axis of the grid: between cells low and low + 1.
struct Place {
    int low;
    float weight;
};

// scale: cells per pixel.
__device__ Place place_of(int pixel, double scale, int side) {
    const double exact = (pixel + 0.5) * scale - 0.5;
    const double place = fmin(fmax(exact, 0.0), side - 1.0);
    const int low = min(static_cast<int>(place), side - 2);
    return {low, static_cast<float>(place - low)};
}

__device__ float lerp_step(float from, float to, float weight) {
    return (to - from) * weight + from;
}

// One column of the grid at the height of an image row.
__device__ float line_at(const float* __restrict__ logits, int side, Place y, int x) {
    const float* above = logits + y.low * side + x;
    return lerp_step(above[0], above[side], y.weight);
}

// logits [P, M, L, L], of which best [P] names the mask; frames [P, 4] (height, width,
// model_height, model_width); offsets [P]: where in `packed` a prompt's ceil(height * width / 8)
// bytes begin. Bits as numpy.packbits has them. Grid (any, P): a thread takes every gridDim.x-th
// byte.
extern "C" __global__ void __launch_bounds__(PACK_THREADS)
    pack_masks(const float* __restrict__ logits, const int* __restrict__ best,
               const int* __restrict__ frames, const long long* __restrict__ offsets,
               int num_masks, int side, unsigned char* __restrict__ packed) {
    const int prompt = blockIdx.y;
    const int height = frames[4 * prompt], width = frames[4 * prompt + 1];
    const double scale_y = static_cast<double>(frames[4 * prompt + 2]) / height / MASK_STRIDE;
    const double scale_x = static_cast<double>(frames[4 * prompt + 3]) / width / MASK_STRIDE;
    const float* mask =
        logits + (static_cast<long long>(prompt) * num_masks + best[prompt]) * side * side;
    const int num_bytes = (height * width + 7) / 8;
    for (int byte = blockIdx.x * blockDim.x + threadIdx.x; byte < num_bytes;
         byte += gridDim.x * blockDim.x) {
        int row = byte * 8 / width, column = byte * 8 % width;
        Place y = place_of(row, scale_y, side);
        unsigned bits = 0;
        int held = -1;  // the cell whose lines are `left` and `right`: neighbours often share it
        float left = 0, right = 0;
        for (int bit = 0; bit < 8 && row < height; ++bit) {
            const Place x = place_of(column, scale_x, side);
            if (x.low != held) {
                held = x.low;
                left = line_at(mask, side, y, held);
                right = line_at(mask, side, y, held + 1);
            }
            bits |= static_cast<unsigned>(lerp_step(left, right, x.weight) > 0) << (7 - bit);
            if (++column == width) {
                column = 0;
                y = place_of(++row, scale_y, side);
                held = -1;
            }
        }
        packed[offsets[prompt] + byte] = static_cast<unsigned char>(bits);
    }
}
