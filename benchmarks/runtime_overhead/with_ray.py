"""One Ray task a list item, at most 1,000 in flight: `python with_ray.py STEPS`."""

from __future__ import annotations

import sys

import ray
from measure import measure

IN_FLIGHT = 1000


@ray.remote
def noop(x: int) -> int:
    """Return the argument."""
    return x


def main(steps: int) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.get([noop.remote(0) for _ in range(4)])  # its workers have started

    def work() -> None:
        results = [0] * steps
        places: dict[object, int] = {}
        for index in range(steps):
            if len(places) == IN_FLIGHT:
                _take(places, results)
            places[noop.remote(index)] = index
        while places:
            _take(places, results)
        assert results == list(range(steps))

    measure(work)
    ray.shutdown()


def _take(places: dict[object, int], results: list[int]) -> None:
    ready, _ = ray.wait(list(places), num_returns=min(len(places), IN_FLIGHT // 2))
    for reference, value in zip(ready, ray.get(ready), strict=True):
        results[places.pop(reference)] = value


if __name__ == "__main__":
    main(int(sys.argv[1]))
