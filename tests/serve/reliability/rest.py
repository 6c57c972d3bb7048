"""What a server holds while nobody calls it, and that it comes back to that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from tests.serve.reliability.server_process import ServerProcess, until

CLICKS, ENCODES = 'apsam_queue_depth{class="click"}', 'apsam_queue_depth{class="encode"}'
PROMPTS, IMAGES = 'probe_device{what="prompts"}', 'probe_device{what="images"}'
_KEYS = (
    *(CLICKS, ENCODES, "apsam_store_entries"),
    *('apsam_store_bytes{state="used"}', 'apsam_store_bytes{state="reserved"}'),
    *('probe_running{what="calls"}', 'probe_running{what="tasks"}'),
)
_SCRAPED_S = 0.05
"""The connection of an earlier scrape is closed by then."""


@dataclass(frozen=True, kw_only=True)
class Rest:
    """samples: queues, held and reserved bytes, calls, tasks of the event loop; num_threads;
    num_fds: files and connections that are open. To be taken of a server that has worked, because
    pools start their threads when they are first needed."""

    samples: tuple[float, ...]
    num_threads: int
    num_fds: int

    @classmethod
    def of(cls, server: ServerProcess) -> Self:
        """As it is now."""
        time.sleep(_SCRAPED_S)
        num_fds, num_threads = server.num_fds, server.num_threads
        found = server.metrics()
        samples = tuple(found[key] for key in _KEYS)
        return cls(samples=samples, num_threads=num_threads, num_fds=num_fds)

    def holds(self, now: Rest) -> bool:
        """Whether nothing is there that was not."""
        fewer = now.num_threads <= self.num_threads and now.num_fds <= self.num_fds
        return now.samples == self.samples and fewer

    def require_again(self, server: ServerProcess, *, timeout_s: float = 10.0) -> float:
        """Wait until the server is as it was. Returns the seconds it took."""
        try:
            return until(
                lambda: self.holds(Rest.of(server)), "the server at rest", timeout_s=timeout_s
            )
        except AssertionError as error:
            raise AssertionError(f"{error}: was {self}, is {Rest.of(server)}") from None
