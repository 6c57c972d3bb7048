// The Adaptive Point Generator (paper 4.4): the twin of contract/apg.py, which says why each step
// is as it is, and of prompting/apg.py, which builds the second prompt. Bit for bit the same.
#pragma once

#include "foreground.cuh"
#include "points.cuh"
#include "two_means.cuh"

enum Branch { CLUSTERS, FALLBACK, EMPTY };
enum Fallback { FROM_FOREGROUND, FROM_BOX };

struct Options {
    float core;
    double tau;
    int max_iterations, fallback;
    double scale_low, scale_high;
    unsigned long long seed;
};

// What a block keeps, 21 KB.
struct Workspace {
    unsigned words[MAX_SIDE * MAX_STRIDE];
    Span cuts[MAX_SIDE];
    Run runs[2][MAX_SIDE];
    int counts[MAX_SIDE];
    int chosen[2][2];
    union {
        Scratch folds;
        Extent extents[MAX_THREADS];
        Pair pairs[MAX_THREADS];
    };
};

// The same in every thread. points and box are in model pixels, centroids (x1, y1, x2, y2) too.
struct Found {
    Branch branch;
    Points points;
    Box box;
    double centroids[4];
};

__device__ Points in_model_pixels(Points cells) {
    for (int i = 0; i < 2; ++i) {
        cells.x[i] = (cells.x[i] + 0.5) * MASK_STRIDE;
        cells.y[i] = (cells.y[i] + 0.5) * MASK_STRIDE;
    }
    return cells;
}

// The foreground's rows: the core, or the whole mask where nothing exceeds it.
__device__ BitRows find_foreground(const float* logits, int side, int valid_rows, int valid_columns,
                                   float core, Workspace& space, Extent& extent) {
    BitRows rows = {space.words, row_stride(side), 0, side, 0, 0};
    extent = read_rows(logits, side, valid_rows, valid_columns, core, rows, space.extents);
    if (extent.bottom < 0 && core != 0.0f) {
        extent = read_rows(logits, side, valid_rows, valid_columns, 0.0f, rows, space.extents);
    }
    rows.top = extent.top;
    rows.bottom = extent.bottom + 1;
    rows.first_word = extent.left / WORD_BITS;
    rows.last_word = extent.right / WORD_BITS;
    return rows;
}

// Clip the rows to the box (cells), count them, and sum up what is left.
__device__ Moments clip_rows(const BitRows& rows, const Box& box, Workspace& space) {
    const Span rows_inside = cells_between(box.top, box.bottom);
    const Span columns_inside = cells_between(box.left, box.right);
    Moments mine = {};
    for (int y = rows.top + threadIdx.x; y < rows.bottom; y += blockDim.x) {
        clip_row(rows, y, rows_inside, columns_inside);
        const Moments row = row_moments(rows, y);
        space.counts[y] = row.num;
        mine = join(mine, row);
    }
    return fold(mine, space.folds.moments);
}

// Two clusters farther apart than tau, or false.
__device__ bool find_clusters(const BitRows& rows, const Moments& all, int side,
                              const Options& options, Workspace& space, Found& found) {
    if (all.num < 2) {
        return false;
    }
    const Clusters two =
        two_means(rows, all, options.max_iterations, side, space.cuts, space.folds);
    const double x1 = static_cast<double>(two.one.x) / two.one.num;
    const double y1 = static_cast<double>(two.one.y) / two.one.num;
    const double x2 = static_cast<double>(two.two.x) / two.two.num;
    const double y2 = static_cast<double>(two.two.y) / two.two.num;
    const double dx = x2 - x1, dy = y2 - y1;
    if (!(sqrt(dx * dx + dy * dy) * MASK_STRIDE > options.tau)) {
        return false;
    }
    const double cells[4] = {x1, y1, x2, y2};
    for (int i = 0; i < 4; ++i) {
        found.centroids[i] = (cells[i] + 0.5) * MASK_STRIDE;
    }
    for (int y = rows.top + threadIdx.x; y < rows.bottom; y += blockDim.x) {
        space.runs[0][y] = row_extremes(rows, y, space.cuts[y], true);
        space.runs[1][y] = row_extremes(rows, y, space.cuts[y], false);
    }
    __syncthreads();
    found.points = in_model_pixels(farthest_pair(rows, space.runs, space.pairs));
    return true;
}

__device__ void draw_points(const BitRows& rows, int num_pixels, const Options& options,
                            Workspace& space, Found& found) {
    if (options.fallback == FROM_BOX) {
        found.points = draw_in_box(found.box, options.seed);
        return;
    }
    draw_pixels(rows, space.counts, num_pixels, options.seed, space.chosen);
    __syncthreads();
    Points cells;
    for (int i = 0; i < 2; ++i) {
        cells.x[i] = space.chosen[i][0];
        cells.y[i] = space.chosen[i][1];
    }
    found.points = in_model_pixels(cells);
}

__device__ Found find_points(const float* logits, int side, int valid_rows, int valid_columns,
                             const Options& options, Workspace& space) {
    const double none = nan("");
    Found found = {EMPTY, {}, {}, {none, none, none, none}};
    Extent extent;
    const BitRows rows = find_foreground(logits, side, min(valid_rows, side),
                                         min(valid_columns, side), options.core, space, extent);
    if (extent.bottom < 0) {
        return found;
    }
    const Box box = scaled_box(extent, valid_rows, valid_columns, options.scale_low,
                               options.scale_high, options.seed);
    found.box = {box.left * MASK_STRIDE, box.top * MASK_STRIDE, box.right * MASK_STRIDE,
                 box.bottom * MASK_STRIDE};
    const Moments all = clip_rows(rows, box, space);
    if (all.num == 0) {
        return found;
    }
    if (find_clusters(rows, all, side, options, space, found)) {
        found.branch = CLUSTERS;
    } else {
        found.branch = FALLBACK;
        draw_points(rows, all.num, options, space, found);
    }
    return found;
}

// Cluster numbers of every cell, int8 [L, L]; 1 for all foreground where there are no clusters.
__device__ void write_assignment(const Workspace& space, int side, Branch branch,
                                 signed char* assignment) {
    for (int i = threadIdx.x; i < side * side; i += blockDim.x) {
        const int y = i / side, x = i % side;
        const bool set = space.words[y * row_stride(side) + x / WORD_BITS] >> x % WORD_BITS & 1;
        const Span cut = space.cuts[y];
        const bool second = branch == CLUSTERS && set && (x < cut.start || x >= cut.stop);
        assignment[i] = static_cast<signed char>(set + second);
    }
}

// A block per prompt. logits [P, M, L, L], of which best [P] names the mask; valid_cells [P, 2]
// (rows, columns); seeds [P]; the prompt of the first decode, old_coords [P, N1, 2] and old_labels
// [P, N1] -> that of the second, coords [P, N2, 2] and labels [P, N2]; branch [P]; and, unless
// null, what tests look at: assignment [P, L, L], box [P, 4] and centroids [P, 2, 2].
// L is a multiple of 4 up to 256, and logits lie on 16 bytes.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) adaptive_points(
    const float* __restrict__ logits, const int* __restrict__ best,
    const int* __restrict__ valid_cells, int num_masks, int side, float core, double tau,
    int max_iterations, int fallback, double scale_low, double scale_high,
    const unsigned long long* __restrict__ seeds, const float* __restrict__ old_coords,
    const float* __restrict__ old_labels, int num_old, float* __restrict__ coords,
    float* __restrict__ labels, int num_points, int* __restrict__ branch,
    signed char* __restrict__ assignment, double* __restrict__ box,
    double* __restrict__ centroids) {
    __shared__ Workspace space;
    const int prompt = blockIdx.x;
    const long long mask = static_cast<long long>(prompt) * num_masks + best[prompt];
    const Options options = {core,      tau,        max_iterations, fallback,
                             scale_low, scale_high, seeds[prompt]};
    const Found found = find_points(logits + mask * side * side, side, valid_cells[2 * prompt],
                                    valid_cells[2 * prompt + 1], options, space);
    const Prompt<const float> old = {old_coords + 2ll * prompt * num_old,
                                     old_labels + 1ll * prompt * num_old, num_old};
    const Prompt<float> next = {coords + 2ll * prompt * num_points,
                                labels + 1ll * prompt * num_points, num_points};
    write_prompt(old, next, found.branch == EMPTY ? nullptr : &found.points);
    if (assignment != nullptr) {
        write_assignment(space, side, found.branch, assignment + 1ll * prompt * side * side);
    }
    if (threadIdx.x == 0) {
        branch[prompt] = found.branch;
        const double edges[4] = {found.box.left, found.box.top, found.box.right,
                                 found.box.bottom};
        for (int i = 0; i < 4; ++i) {
            if (box != nullptr) {
                box[4ll * prompt + i] = edges[i];
            }
            if (centroids != nullptr) {
                centroids[4ll * prompt + i] = found.centroids[i];
            }
        }
    }
}
