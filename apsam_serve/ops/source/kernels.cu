// Every kernel, as one module. Compile with --fmad=false (a host compiler: -ffp-contract=off): the
// answers are those of the contract's NumPy code, bit for bit.
#include "adaptive_points.cuh"
#include "best_mask.cuh"
#include "choose_decode.cuh"
#include "keep_masks.cuh"
#include "pack_masks.cuh"
