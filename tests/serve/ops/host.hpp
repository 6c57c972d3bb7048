// The words of CUDA that the kernels use, for a C++20 compiler. A block's threads are threads with
// a barrier, so that a sanitizer sees what they share; blocks run one after another.
#pragma once

#include <algorithm>
#include <barrier>
#include <bit>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#define __global__
#define __device__ inline
#define __shared__ static
#define __launch_bounds__(threads)

using std::max;
using std::min;

struct float4 {
    float x, y, z, w;
};

struct Index {
    unsigned x = 0, y = 0;
};

inline thread_local Index threadIdx, blockIdx;
inline Index blockDim, gridDim;
inline std::barrier<>* block_barrier = nullptr;

inline void __syncthreads() {
    if (block_barrier != nullptr) {
        block_barrier->arrive_and_wait();
    }
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __clz(unsigned bits) { return std::countl_zero(bits); }
inline int __ffs(unsigned bits) { return bits == 0 ? 0 : std::countr_zero(bits) + 1; }
inline int __ffsll(long long bits) {
    return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(bits)) + 1;
}
