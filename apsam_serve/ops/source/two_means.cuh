// Lloyd's algorithm with K = 2 on the pixels of a mask (paper 4.4): the twin of `two_means` and of
// what it calls in contract/two_means.py, row by row. Compile without fused multiply-add.
#pragma once

#include "bit_rows.cuh"
#include "block.cuh"
#include "draws.cuh"

constexpr int MAX_THREADS = 256;

// Sums over pixels. 32 bits hold them: 256 x 256 pixels have a sum of x * x of 1.4e9.
struct Sums {
    int num, x, y;
};

struct Moments {
    int num, x, y, xx, xy, yy;
};

// The row extremes farthest apart along an axis, and their numbers 2 y + (0 left, 1 right).
struct Ends {
    double low, high;
    int low_at, high_at;
};

// The bisector of s1 / n1 and s2 / n2, times n1 n2.
struct Bisector {
    long long dx, dy, mx, my, n1n2;
};

__device__ Sums join(Sums a, Sums b) { return {a.num + b.num, a.x + b.x, a.y + b.y}; }

__device__ Moments join(const Moments& a, const Moments& b) {
    return {a.num + b.num, a.x + b.x, a.y + b.y, a.xx + b.xx, a.xy + b.xy, a.yy + b.yy};
}

// Ties go to the smaller number: the smallest y, then x.
__device__ Ends join(const Ends& a, const Ends& b) {
    const bool low = b.low < a.low || (b.low == a.low && b.low_at < a.low_at);
    const bool high = b.high > a.high || (b.high == a.high && b.high_at < a.high_at);
    return {low ? b.low : a.low, high ? b.high : a.high, low ? b.low_at : a.low_at,
            high ? b.high_at : a.high_at};
}

__device__ Moments row_moments(const BitRows& rows, int y) {
    Moments sums = {};
    for (int word = rows.first_word; word <= rows.last_word; ++word) {
        const unsigned bits = rows.row(y)[word];
        const int first = word * WORD_BITS;
        const int num = __popc(bits), positions = sum_positions(bits);
        sums.num += num;
        sums.x += first * num + positions;
        sums.xx += first * (first * num + 2 * positions) + sum_squares(bits);
    }
    sums.y = y * sums.num;
    sums.xy = y * sums.x;
    sums.yy = y * sums.y;
    return sums;
}

// The two row extremes that start the iteration: the farthest apart along the principal axis.
__device__ Ends principal_extremes(const BitRows& rows, const Moments& all, Ends* scratch) {
    const long long n = all.num, sx = all.x, sy = all.y;
    const long long a = n * all.xx - sx * sx, b = n * all.xy - sx * sy, c = n * all.yy - sy * sy;
    const double half = static_cast<double>(a - c) / 2, across = static_cast<double>(b);
    const double root = sqrt(half * half + across * across);
    double vx = half >= 0 ? half + root : across;
    const double vy = half >= 0 ? across : root - half;
    vx = vx == 0 && vy == 0 ? 1.0 : vx;
    Ends mine = {1e300, -1e300, 2 * MAX_SIDE, 2 * MAX_SIDE};
    for (int y = rows.top + threadIdx.x; y < rows.bottom; y += blockDim.x) {
        const Run run = row_extremes(rows, y, {0, MAX_SIDE}, true);
        if (run.left >= 0) {
            const double left = vx * run.left + vy * y, right = vx * run.right + vy * y;
            mine = join(mine, {left, left, 2 * y, 2 * y});
            mine = join(mine, {right, right, 2 * y + 1, 2 * y + 1});
        }
    }
    return fold(mine, scratch);
}

__device__ Bisector bisector(Sums one, Sums two) {
    const long long n1 = one.num, n2 = two.num;
    return {n1 * two.x - n2 * one.x, n1 * two.y - n2 * one.y, n1 * two.x + n2 * one.x,
            n1 * two.y + n2 * one.y, n1 * n2};
}

// x at which row y meets the bisector whose direction is (dx, dy). THE float formula; see
// `_row_thresholds` of the reference for its order.
__device__ double row_threshold(const Bisector& line, long long dx, long long dy, int y) {
    const double row_term =
        static_cast<double>(2 * line.n1n2 * y - line.my) / static_cast<double>(dx);
    return (static_cast<double>(line.mx) - static_cast<double>(dy) * row_term) /
           static_cast<double>(2 * line.n1n2);
}

// The columns of row y that are nearer the first centroid, or as near.
__device__ Span cut_row(const Bisector& line, int y, int side) {
    if (line.dx == 0) {  // a horizontal bisector: whole rows
        const long long below = 2 * line.n1n2 * y - line.my;
        return {0, (line.dy < 0 ? -below : below) <= 0 ? side : 0};
    }
    double cut = row_threshold(line, line.dx, line.dy, y);
    // Only its floor or ceiling matters, and inside the mask both forms are within 1e-11 of the
    // exact place. So the divisor of the reference, a microsecond of shifts, matters only here.
    if (fabs(cut - rint(cut)) < 1e-6) {
        const long long divisor = gcd(llabs(line.dx), llabs(line.dy));
        cut = row_threshold(line, line.dx / divisor, line.dy / divisor, y);
    }
    if (line.dx > 0) {
        return {0, static_cast<int>(fmin(fmax(floor(cut), -1.0), side - 1.0)) + 1};
    }
    return {static_cast<int>(fmin(fmax(ceil(cut), 0.0), static_cast<double>(side))), side};
}

// Cut every row, keep the cuts, and sum up the first cluster.
__device__ Sums cut_rows(const BitRows& rows, const Bisector& line, int side, Span* cuts,
                         Sums* scratch) {
    Sums mine = {};
    for (int y = rows.top + threadIdx.x; y < rows.bottom; y += blockDim.x) {
        const Span cut = cut_row(line, y, side);
        int num = 0;
        for (int word = rows.first_word; word <= rows.last_word; ++word) {
            const unsigned bits = rows.row(y)[word] & span_bits(cut, word);
            const int num_bits = __popc(bits);
            num += num_bits;
            mine.x += word * WORD_BITS * num_bits + sum_positions(bits);
        }
        mine.num += num;
        mine.y += y * num;
        cuts[y] = cut;
    }
    return fold(mine, scratch);
}

// One place for every fold: they never overlap.
union Scratch {
    Sums sums[MAX_THREADS];
    Moments moments[MAX_THREADS];
    Ends ends[MAX_THREADS];
};

struct Clusters {
    Sums one, two;
};

__device__ Clusters clusters_of(const Moments& all, Sums one) {
    return {one, {all.num - one.num, all.x - one.x, all.y - one.y}};
}

__device__ Sums seed(const BitRows& rows, int at) {
    const Run run = row_extremes(rows, at / 2, {0, MAX_SIDE}, true);
    return {1, at % 2 == 0 ? run.left : run.right, at / 2};
}

// Both clusters when no sum moves; the first one's columns of each row are then in `cuts`, and rest,
// because the next cuts follow from the sums alone.
__device__ Clusters two_means(const BitRows& rows, const Moments& all, int max_iterations, int side,
                              Span* cuts, Scratch& scratch) {
    const Ends ends = principal_extremes(rows, all, scratch.ends);
    Clusters found = {seed(rows, ends.low_at), seed(rows, ends.high_at)};
    for (int i = 0; i < max(max_iterations, 1); ++i) {
        const Sums before = found.one;
        const Sums one = cut_rows(rows, bisector(found.one, found.two), side, cuts, scratch.sums);
        found = clusters_of(all, one);
        if (i > 0 && one.num == before.num && one.x == before.x && one.y == before.y) {
            break;
        }
    }
    return found;
}
