"""Non-negative least squares: what it finds cannot be made better, and no outlier leads it."""

import numpy as np
import pytest

from sigdca.targets.fit import fit_relative, non_negative


@pytest.mark.parametrize("seed", range(20))
def test_no_step_from_the_solution_makes_it_better(seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(5, 40), rng.integers(1, 30)
    matrix = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.6)
    wanted = rng.random(rows)
    found = non_negative(matrix, wanted)
    slope = matrix.T @ (wanted - matrix @ found)
    assert (found >= 0).all()
    # Karush, Kuhn and Tucker: level where x > 0, downhill only towards negative x elsewhere
    assert slope[found > 0] == pytest.approx(0, abs=1e-8)
    assert (slope[found == 0] <= 1e-8).all()


def test_a_known_cost_is_found_again_beside_outliers():
    rng = np.random.default_rng(1)
    counts = np.exp(rng.uniform(0, 8, (120, 3)))
    cost = np.array([2.0, 0.0, 0.5])
    times = counts @ cost
    times[:6] *= 3
    assert fit_relative(counts, times) == pytest.approx(cost, rel=0.02, abs=0.02)
