// Seeded draws and the greatest common divisor.
#pragma once

// Draw number `draw` of a seed in [0, 1): splitmix64.
__device__ double uniform(unsigned long long seed, int draw) {
    unsigned long long z = seed + (draw + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

// By subtraction and shifts: a 64-bit remainder is a hundred instructions on a GPU. a > 0.
__device__ long long gcd(long long a, long long b) {
    if (b == 0) {
        return a;
    }
    const int shift = __ffsll(a | b) - 1;
    a >>= __ffsll(a) - 1;
    while (b != 0) {
        b >>= __ffsll(b) - 1;
        const long long smaller = a < b ? a : b;
        b = a < b ? b - a : a - b;
        a = smaller;
    }
    return a << shift;
}
