// The two points: the farthest pair between two clusters, or two draws; and the prompt they make.
#pragma once

#include "bit_rows.cuh"
#include "block.cuh"
#include "draws.cuh"
#include "foreground.cuh"

// A pair of row extremes: squared distance, then the numbers of both (2 y + side of the row), lower
// before higher, in one integer that is largest for the pair of the reference.
struct Pair {
    long long key;
};

__device__ Pair join(Pair a, Pair b) { return {a.key > b.key ? a.key : b.key}; }

constexpr int NUMBER_BITS = 9;  // 2 * MAX_SIDE numbers
constexpr long long NUMBERS = (1ll << 2 * NUMBER_BITS) - 1;

struct Points {
    double x[2], y[2];
};

__device__ Pair farthest_of_rows(Run first, Run second, int y1, int y2) {
    Pair best = {-1};
    for (int i = 0; i < 4; ++i) {
        const int dx = (i < 2 ? first.left : first.right) - (i % 2 ? second.right : second.left);
        const int dy = y1 - y2;
        const long long distance = dx * dx + dy * dy;
        const long long numbers = (2 * y1 + i / 2) << NUMBER_BITS | (2 * y2 + i % 2);
        best = join(best, {distance << 2 * NUMBER_BITS | (NUMBERS - numbers)});
    }
    return best;
}

// Exact farthest pair (eq. 8) over runs[cluster][y], in cells. Row pairs are dealt out one by one.
__device__ Points farthest_pair(const BitRows& rows, const Run (*runs)[MAX_SIDE], Pair* scratch) {
    const int num = rows.bottom - rows.top, threads = blockDim.x;
    Pair mine = {-1};
    int i = threadIdx.x / num, j = threadIdx.x % num;
    while (i < num) {
        const Run first = runs[0][rows.top + i], second = runs[1][rows.top + j];
        if (first.left >= 0 && second.left >= 0) {
            mine = join(mine, farthest_of_rows(first, second, rows.top + i, rows.top + j));
        }
        i += threads / num;
        j += threads % num;
        if (j >= num) {
            j -= num;
            ++i;
        }
    }
    const long long numbers = NUMBERS - (fold(mine, scratch).key & NUMBERS);
    const int one = static_cast<int>(numbers >> NUMBER_BITS);
    const int two = static_cast<int>(numbers & (2 * MAX_SIDE - 1));
    const Run first = runs[0][one / 2], second = runs[1][two / 2];
    return {{static_cast<double>(one % 2 ? first.right : first.left),
             static_cast<double>(two % 2 ? second.right : second.left)},
            {static_cast<double>(one / 2), static_cast<double>(two / 2)}};
}

// Pixel number `rank` of a row, from the left.
__device__ int nth_pixel(const BitRows& rows, int y, int rank) {
    int word = rows.first_word;
    while (rank >= __popc(rows.row(y)[word])) {
        rank -= __popc(rows.row(y)[word++]);
    }
    unsigned bits = rows.row(y)[word];
    for (; rank > 0; --rank) {
        bits &= bits - 1;
    }
    return word * WORD_BITS + __ffs(bits) - 1;
}

// Two seeded pixels of the mask (eq. 9) in cells, written to `chosen` by whose row holds them.
// counts[y]: pixels of a row; every row adds up the rows before it, without waiting for another.
__device__ void draw_pixels(const BitRows& rows, const int* counts, int num_pixels,
                            unsigned long long seed, int (*chosen)[2]) {
    for (int y = rows.top + threadIdx.x; y < rows.bottom; y += blockDim.x) {
        int before = 0;
        for (int above = rows.top; above < y; ++above) {
            before += counts[above];
        }
        for (int draw = 0; draw < 2; ++draw) {
            const int rank = static_cast<int>(uniform(seed, draw) * num_pixels) - before;
            if (0 <= rank && rank < counts[y]) {
                chosen[draw][0] = nth_pixel(rows, y, rank);
                chosen[draw][1] = y;
            }
        }
    }
}

// Two seeded places in the box (model pixels): the literal paper.
__device__ Points draw_in_box(const Box& box, unsigned long long seed) {
    Points points;
    for (int draw = 0; draw < 2; ++draw) {
        points.x[draw] = box.left + (box.right - box.left) * uniform(seed, draw);
        points.y[draw] = box.top + (box.bottom - box.top) * uniform(seed, 4 + draw);
    }
    return points;
}

constexpr float PADDING = -1, POSITIVE = 1, BOX_TOP_LEFT = 2;  // contract.prompts.PointLabel

// A prompt as the decoder takes it: coords [num, 2] in model pixels, labels [num].
template <class Float>
struct Prompt {
    Float* coords;
    Float* labels;
    int num;

    __device__ void put(int at, float x, float y, float label) const {
        if (at < num) {
            coords[2 * at] = x;
            coords[2 * at + 1] = y;
            labels[at] = label;
        }
    }
};

// The prompt of the second decode: both points, then what the person said about the object's
// surroundings (negative points, a box), in order, then padding points. Without points, the old
// prompt again.
__device__ void write_prompt(const Prompt<const float>& old, const Prompt<float>& next,
                             const Points* points) {
    const int num_points = points == nullptr ? 0 : 2;
    int num_kept = 0;
    for (int i = 0; i < old.num; ++i) {
        const float label = old.labels[i];
        const bool keep = points == nullptr || (label != POSITIVE && label != PADDING);
        if (keep && threadIdx.x == i % blockDim.x) {
            next.put(num_points + num_kept, old.coords[2 * i], old.coords[2 * i + 1], label);
        }
        num_kept += keep;
    }
    for (int i = num_points + num_kept + threadIdx.x; i < next.num; i += blockDim.x) {
        next.put(i, 0.0f, 0.0f, PADDING);
    }
    if (points != nullptr && threadIdx.x == 0) {
        next.put(0, static_cast<float>(points->x[0]), static_cast<float>(points->y[0]), POSITIVE);
        next.put(1, static_cast<float>(points->x[1]), static_cast<float>(points->y[1]), POSITIVE);
    }
}
