"""How many processes this machine can run at once."""

from __future__ import annotations

import os


def num_cpus() -> int:
    """CPUs that this process may use: a container may grant fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Linux alone can say so
        return os.cpu_count() or 1
