// Chosen masks, copied to where they are kept to be refined.
#pragma once

constexpr int KEEP_THREADS = 256;

// logits [P, M, L, L], of which best [P] names the mask; planes [P]: the address that its L x L
// floats go to, or 0. Grid (any, P): a thread takes every gridDim.x-th four of them. L is a multiple
// of 4, and logits and planes lie on 16 bytes.
extern "C" __global__ void __launch_bounds__(KEEP_THREADS)
    keep_masks(const float* __restrict__ logits, const int* __restrict__ best,
               const long long* __restrict__ planes, int num_masks, int side) {
    const int prompt = blockIdx.y;
    if (planes[prompt] == 0) {
        return;
    }
    const int num_quads = side * side / 4;
    const float4* mask =
        reinterpret_cast<const float4*>(logits) +
        (static_cast<long long>(prompt) * num_masks + best[prompt]) * num_quads;
    float4* plane = reinterpret_cast<float4*>(planes[prompt]);
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < num_quads;
         i += gridDim.x * blockDim.x) {
        plane[i] = mask[i];
    }
}
