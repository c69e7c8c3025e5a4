"""Adapt in another process: this side needs numpy and `pip install --no-deps meshlearn` only."""

import numpy as np

from meshlearn.plugins.client import Client

n = 33
x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
points = np.column_stack([x.ravel(), y.ravel()])
node = np.arange(n * n).reshape(n, n)
quads = np.stack([node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1]], axis=-1)
cells = {"quad": quads.reshape(-1, 4)}


def solve(points):
    """Stands for a solver that knows nothing of meshlearn."""
    return np.tanh((0.5 - np.hypot(*points.T)) / 0.05)


# A Python that has meshlearn with its dependencies: an argument, or MESHLEARN_PYTHON.
with Client.start() as client:
    here = points
    for move in range(3):
        here, report = client.adapt(points, cells, field=solve(here), start=here)
        print(f"move {move + 1}: {report['iterations']} iterations, {report['reason']}")
    first, last = client.estimate(cells, [points, here], here, solve(here))
print(f"estimated error {first:.2e} -> {last:.2e}")
np.savetxt("positions.txt", here)
