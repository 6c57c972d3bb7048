// One value per thread, folded into one value per block.
#pragma once

// Values that one thread takes together per step: 256 threads need two steps, and a step's reads
// overlap. A tree of pairs would wait at a barrier eight times.
constexpr int FOLD = 16;

// join(join(a, b), c) of every thread's value, in every thread. `scratch` holds one T per thread.
// join must not care about order: sums of integers, or extremes with a rule for ties.
template <class T>
__device__ T fold(const T& mine, T* scratch) {
    const int thread = threadIdx.x;
    scratch[thread] = mine;
    __syncthreads();
    for (int num = blockDim.x; num > 1;) {
        const int num_left = (num + FOLD - 1) / FOLD;
        if (thread < num_left) {
            T joined = scratch[thread];
            for (int other = thread + num_left; other < num; other += num_left) {
                joined = join(joined, scratch[other]);
            }
            scratch[thread] = joined;
        }
        __syncthreads();
        num = num_left;
    }
    const T result = scratch[0];
    __syncthreads();  // the next fold writes to the same place
    return result;
}
