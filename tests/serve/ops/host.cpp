// cuLaunchKernel for the host build: a kernel by name, its arguments as an array of pointers.
#include "host.hpp"

#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "kernels.cu"

namespace {

// One thread of every block. The barrier after a kernel stands for the end of its block, whose
// shared memory the next one takes over.
template <class Kernel>
void run_thread(unsigned thread, const Kernel& kernel) {
    threadIdx = {thread, 0};
    for (unsigned y = 0; y < gridDim.y; ++y) {
        for (unsigned x = 0; x < gridDim.x; ++x) {
            blockIdx = {x, y};
            kernel();
            __syncthreads();
        }
    }
}

template <class... A, std::size_t... I>
void run(void (*kernel)(A...), unsigned threads, void** arguments, std::index_sequence<I...>) {
    const auto call = [=] { kernel(*static_cast<A*>(arguments[I])...); };
    blockDim = {threads, 1};
    if (threads == 1) {
        run_thread(0, call);
        return;
    }
    std::barrier<> barrier(threads);
    block_barrier = &barrier;
    std::vector<std::thread> block;
    for (unsigned thread = 0; thread < threads; ++thread) {
        block.emplace_back([=] { run_thread(thread, call); });
    }
    for (std::thread& thread : block) {
        thread.join();
    }
    block_barrier = nullptr;
}

template <class... A>
void run(void (*kernel)(A...), unsigned threads, void** arguments) {
    run(kernel, threads, arguments, std::index_sequence_for<A...>());
}

}  // namespace

extern "C" int launch(const char* name, unsigned grid_x, unsigned grid_y, unsigned threads,
                      void** arguments) {
    gridDim = {grid_x, grid_y};
    if (std::strcmp(name, "best_mask") == 0) {
        run(best_mask, threads, arguments);
    } else if (std::strcmp(name, "adaptive_points") == 0) {
        run(adaptive_points, threads, arguments);
    } else if (std::strcmp(name, "pack_masks") == 0) {
        run(pack_masks, threads, arguments);
    } else if (std::strcmp(name, "choose_decode") == 0) {
        run(choose_decode, threads, arguments);
    } else if (std::strcmp(name, "keep_masks") == 0) {
        run(keep_masks, threads, arguments);
    } else {
        return 1;
    }
    return 0;
}
