"""Published velocities on the centre lines of the lid-driven cavity, for the tests of flows."""

from __future__ import annotations

import torch
from torch import Tensor

# U. Ghia, K. N. Ghia and C. T. Shin, "High-Re solutions for incompressible flow using the
# Navier-Stokes equations and a multigrid method", J. Comput. Phys. 48 (1982) 387-411, tables I, II.
# The value -0.23827 for Re = 400 is a known misprint.
# y; u at the Reynolds numbers 100, 400 and 1000
GHIA_VERTICAL = (
    (0.9766, 0.84123, 0.75837, 0.65928),
    (0.9688, 0.78871, 0.68439, 0.57492),
    (0.9609, 0.73722, 0.61756, 0.51117),
    (0.9531, 0.68717, 0.55892, 0.46604),
    (0.8516, 0.23151, 0.29093, 0.33304),
    (0.7344, 0.00332, 0.16256, 0.18719),
    (0.6172, -0.13641, 0.02135, 0.05702),
    (0.5, -0.20581, -0.11477, -0.0608),
    (0.4531, -0.2109, -0.17119, -0.10648),
    (0.2813, -0.15662, -0.32726, -0.27805),
    (0.1719, -0.1015, -0.24299, -0.38289),
    (0.1016, -0.06434, -0.14612, -0.2973),
    (0.0703, -0.04775, -0.10338, -0.2222),
    (0.0625, -0.04192, -0.09266, -0.20196),
    (0.0547, -0.03717, -0.08186, -0.18109),
)
# x; v likewise
GHIA_HORIZONTAL = (
    (0.9688, -0.05906, -0.12146, -0.21388),
    (0.9609, -0.07391, -0.15663, -0.27669),
    (0.9531, -0.08864, -0.19254, -0.33714),
    (0.9453, -0.10313, -0.22847, -0.39188),
    (0.9063, -0.16914, -0.23827, -0.5155),
    (0.8594, -0.22445, -0.44993, -0.42665),
    (0.8047, -0.24533, -0.38598, -0.31966),
    (0.5, 0.05454, 0.05186, 0.02526),
    (0.2344, 0.17527, 0.30174, 0.32235),
    (0.2266, 0.17507, 0.30203, 0.33075),
    (0.1563, 0.16077, 0.28124, 0.37095),
    (0.0938, 0.12317, 0.22965, 0.32627),
    (0.0781, 0.1089, 0.2092, 0.30353),
    (0.0703, 0.10091, 0.19713, 0.29012),
    (0.0625, 0.09233, 0.1836, 0.27485),
)
# O. Botella and R. Peyret, "Benchmark spectral results on the lid-driven cavity flow", Computers &
# Fluids 27 (1998) 421-433, Re = 1000: u and v at the same places.
BOTELLA_PEYRET = (
    (0.6644227, -0.2279225),
    (0.5808359, -0.2936869),
    (0.5169277, -0.3553213),
    (0.4723329, -0.4103754),
    (0.3372212, -0.5264392),
    (0.1886747, -0.4264545),
    (0.0570178, -0.3202137),
    (-0.0620561, 0.0257995),
    (-0.1081999, 0.3253592),
    (-0.2803696, 0.3339924),
    (-0.3885691, 0.3769189),
    (-0.3004561, 0.3330442),
    (-0.2228955, 0.3099097),
    (-0.20233, 0.2962703),
    (-0.1812881, 0.2807056),
)


def places() -> tuple[Tensor, Tensor]:
    """Points on the vertical and on the horizontal centre line `[15, 2]`."""
    y, x = (
        torch.tensor(rows, dtype=torch.float64)[:, 0] for rows in (GHIA_VERTICAL, GHIA_HORIZONTAL)
    )
    half = torch.full_like(x, 0.5)
    return torch.stack([half, y], dim=1), torch.stack([x, half], dim=1)


def ghia(reynolds: int) -> tuple[Tensor, Tensor]:
    """u and v at the places `[15]`, nan where misprinted."""
    column = 1 + (100, 400, 1000).index(reynolds)
    u, v = (
        torch.tensor(rows, dtype=torch.float64)[:, column]
        for rows in (GHIA_VERTICAL, GHIA_HORIZONTAL)
    )
    if reynolds == 400:
        v[4] = torch.nan
    return u, v
