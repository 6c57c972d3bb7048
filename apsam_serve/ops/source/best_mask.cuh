// The mask with the highest predicted IoU, and whether the decoder answered numbers.
#pragma once

#include "block.cuh"

constexpr int BEST_MASK_THREADS = 1024;

struct Finite {
    int yes;
};

__device__ Finite join(Finite a, Finite b) { return {a.yes & b.yes}; }

// Infinity less itself is NaN, as is NaN.
__device__ bool is_finite(float value) { return value - value == 0.0f; }

// A block per prompt. iou [P, M], logits [P, M, L, L] -> best [P], the first highest as
// numpy.argmax finds it; score [P], that IoU clipped to [0, 1]; finite [P], 1 where every value is
// a number. L is a multiple of 4, and logits lie on 16 bytes: they are read four at a time.
extern "C" __global__ void __launch_bounds__(BEST_MASK_THREADS)
    best_mask(const float* __restrict__ iou, const float* __restrict__ logits, int num_masks,
              int side, int* __restrict__ best, float* __restrict__ score,
              int* __restrict__ finite) {
    __shared__ Finite scratch[BEST_MASK_THREADS];
    const int prompt = blockIdx.x;
    const int num_quads = num_masks * side * side / 4;
    const float4* quads =
        reinterpret_cast<const float4*>(logits) + static_cast<long long>(prompt) * num_quads;
    Finite mine = {1};
    // One prompt's masks are 256 KB for one block: without several reads under way, each turn would
    // wait for memory.
#pragma unroll 8
    for (int i = threadIdx.x; i < num_quads; i += blockDim.x) {
        const float4 quad = quads[i];
        mine.yes &= is_finite(quad.x) & is_finite(quad.y) & is_finite(quad.z) & is_finite(quad.w);
    }
    mine = fold(mine, scratch);
    if (threadIdx.x == 0) {
        const float* scores = iou + static_cast<long long>(prompt) * num_masks;
        int chosen = 0;
        for (int mask = 0; mask < num_masks; ++mask) {
            mine.yes &= is_finite(scores[mask]);
            chosen = scores[mask] > scores[chosen] ? mask : chosen;
        }
        best[prompt] = chosen;
        score[prompt] = fminf(fmaxf(scores[chosen], 0.0f), 1.0f);
        finite[prompt] = mine.yes;
    }
}
