"""How often phases are seen that are not there, and missed where they are, over seeds.

    python benchmarks/phases.py [--seeds 200] [--json]

Flat and drifting series with autocorrelated noise (of standard deviation 1, correlation rho of neighbouring steps):
share of seeds with a knot, with a first phase, with a second phase; for flat series all of them are false alarms, for
drifting ones the knots are. Then a fall that ends at 40 % of the run, and a rise that begins there, of so many standard
deviations of the noise: how often they are seen, and how often the interval of the knot covers the truth.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from hicra.dynamics.hinge import bend
from hicra.dynamics.phases import first_phase, second_phase


def noise(n: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    e = rng.standard_normal(n) * np.sqrt(1 - rho * rho)
    e[0] = rng.standard_normal()
    for i in range(1, n):
        e[i] += rho * e[i - 1]
    return e


def none_there(n: int, rho: float, drift: float, seeds: int) -> dict[str, float]:
    knots = first = second = 0
    for seed in range(seeds):
        rng = np.random.default_rng([n, round(10 * rho), seed])
        line = bend(np.arange(n), drift * np.linspace(0, 1, n) + noise(n, rho, rng), seed=seed)
        knots += len(line.knots) > 0
        first, second = first + first_phase(line).seen, second + second_phase(line).seen
    return {"knot": knots / seeds, "first_phase": first / seeds, "second_phase": second / seeds}


def one_there(n: int, rho: float, height: float, seeds: int) -> dict[str, float]:
    first = second = covered = ended = 0
    at = 0.4 * (n - 1)
    for seed in range(seeds):
        rng = np.random.default_rng([n, round(10 * rho), seed, 1])
        t = np.arange(n)
        fall = bend(t, height * np.maximum(0, 1 - t / at) + noise(n, rho, rng), seed=seed)
        phase = first_phase(fall)
        first += phase.seen
        if phase.seen and phase.end is not None:
            ended += 1
            covered += phase.end_low <= at <= phase.end_high
        rise = height * np.maximum(0, (t - at) / (n - 1 - at)) + noise(n, rho, rng)
        second += second_phase(bend(t, rise, seed=seed)).seen
    return {
        "first_seen": first / seeds,
        "first_ended": ended / seeds,
        "end_covered": covered / max(1, ended),
        "second_seen": second / seeds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    start = time.process_time()
    rows = []
    for n in (30, 60, 300):
        for rho in (0.0, 0.5, 0.8):
            for drift in (0.0, 5.0):
                rows.append({"steps": n, "rho": rho, "drift": drift} | none_there(n, rho, drift, given.seeds))
    for n in (60, 300):
        for rho in (0.0, 0.5):
            for height in (2.0, 4.0, 8.0):
                rows.append({"steps": n, "rho": rho, "height": height} | one_there(n, rho, height, given.seeds))
    if given.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print("  ".join(f"{name} {value:g}" for name, value in row.items()))
    print(f"{given.seeds} seeds, {time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
