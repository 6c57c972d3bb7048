"""What all benchmarks share: workloads, loops, statistics, the environment card, documents."""
