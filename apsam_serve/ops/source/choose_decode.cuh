// Which of two decodes answers a prompt: the twin of what prompting/apg.py does with an empty mask.
#pragma once

#include "adaptive_points.cuh"

constexpr int CHOOSE_THREADS = 64;

// branch [P] of adaptive_points; first and second [P], the best masks of both decodes -> chosen [P].
// Where the logits of the second decode lie behind those of the first, [2, P, M, L, L], it names the
// answer's mask as the other kernels count from the first: there was none to put points on, so that
// the first decode stands, or it is the second's.
extern "C" __global__ void __launch_bounds__(CHOOSE_THREADS)
    choose_decode(const int* __restrict__ branch, const int* __restrict__ first,
                  const int* __restrict__ second, int num_prompts, int num_masks,
                  int* __restrict__ chosen) {
    for (int prompt = threadIdx.x; prompt < num_prompts; prompt += blockDim.x) {
        chosen[prompt] =
            branch[prompt] == EMPTY ? first[prompt] : num_prompts * num_masks + second[prompt];
    }
}
