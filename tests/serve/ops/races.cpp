// Blocks of several threads over masks of every branch, for a thread sanitizer; and the answers
// must be those of one thread. Exits with 1 when they are not.
#include <cstdio>

#include "host.cpp"

namespace {

constexpr int NUM = 6, MASKS = 2, SIDE = 36, OLD = 4, POINTS = 6, IMAGE = 50;

// Two discs, a bar, a ring that falls back, one pixel, the core of a bar, nothing.
float logit(int prompt, int x, int y) {
    const int dx = x - 12, dy = y - 14, distance = dx * dx + dy * dy;
    const bool inside[NUM] = {distance < 40 || (x - 28) * (x - 28) + (y - 25) * (y - 25) < 30,
                              x > 3 && x < 33 && y > 9 && y < 16,
                              distance < 80 && distance > 30,
                              x == 7 && y == 9,
                              x > 3 && x < 33 && y > 9 && y < 16,
                              false};
    return !inside[prompt] ? -1.0f : prompt == 4 && x < 20 ? 3.0f : 1.0f;
}

struct Answers {
    std::vector<int> best = std::vector<int>(NUM), finite = best, branch = best;
    std::vector<float> score = std::vector<float>(NUM);
    std::vector<float> coords = std::vector<float>(NUM * POINTS * 2);
    std::vector<float> labels = std::vector<float>(NUM * POINTS);
    std::vector<signed char> assignment = std::vector<signed char>(NUM * SIDE * SIDE);
    std::vector<double> box = std::vector<double>(NUM * 4);
    std::vector<unsigned char> packed = std::vector<unsigned char>(NUM * IMAGE * IMAGE / 4);

    bool operator==(const Answers&) const = default;
};

template <class... A>
void call(const char* kernel, unsigned grid_x, unsigned grid_y, unsigned threads, A... arguments) {
    void* addresses[] = {&arguments...};
    launch(kernel, grid_x, grid_y, threads, addresses);
}

Answers answer(unsigned threads, double tau, int fallback) {
    std::vector<float> logits, iou, old_coords(NUM * OLD * 2, 8.0f), old_labels;
    std::vector<int> valid, frames;
    std::vector<unsigned long long> seeds;
    std::vector<long long> offsets;
    for (int prompt = 0; prompt < NUM; ++prompt) {
        for (int i = 0; i < MASKS * SIDE * SIDE; ++i) {
            logits.push_back(logit(prompt, i % SIDE, i / SIDE % SIDE));
        }
        iou.insert(iou.end(), {0.1f, 0.5f - prompt});
        old_labels.insert(old_labels.end(), {1.0f, 0.0f, 0.0f, -1.0f});
        valid.insert(valid.end(), {SIDE, SIDE - 2});
        frames.insert(frames.end(), {IMAGE, IMAGE, 4 * SIDE, 4 * SIDE});
        seeds.push_back(prompt);
        offsets.push_back(prompt * IMAGE * IMAGE / 4);
    }
    Answers out;
    call("best_mask", NUM, 1, threads, iou.data(), logits.data(), MASKS, SIDE, out.best.data(),
         out.score.data(), out.finite.data());
    call("adaptive_points", NUM, 1, threads, logits.data(), out.best.data(), valid.data(), MASKS,
         SIDE, 2.0f, tau, 20, fallback, 0.9, 1.1, seeds.data(), old_coords.data(),
         old_labels.data(), OLD, out.coords.data(), out.labels.data(), POINTS, out.branch.data(),
         out.assignment.data(), out.box.data(), static_cast<double*>(nullptr));
    call("pack_masks", 2, NUM, threads, logits.data(), out.best.data(), frames.data(),
         offsets.data(), MASKS, SIDE, out.packed.data());
    return out;
}

}  // namespace

int main() {
    for (double tau : {4.0, 1e9}) {
        for (int fallback : {0, 1}) {
            if (answer(5, tau, fallback) != answer(1, tau, fallback)) {
                std::printf("five threads answer otherwise than one, tau %g\n", tau);
                return 1;
            }
        }
    }
    return 0;
}
