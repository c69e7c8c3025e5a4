"""Message-passing solver against WENO5 on the forced Burgers equation, for docs/operators.md.

    python docs/scripts/burgers_1d.py [STEPS [SEED ...]]

Truth: WENO5 on 200 points, at every 5th. Both see 40 points: WENO5 starts from the exact state at
the end of the first window and knows forcing and viscosity; the solver reads that window and the
viscosity. Error: sum over the later time steps of the mean square over the points.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.mesh import Mesh
from meshlearn.operators import MessagePassingSolver
from meshlearn.training.data.burgers_1d import LENGTH, drawn, ring, solved
from meshlearn.training.rollout import Rollout, Stepper

POINTS, FINE, STEPS, WINDOW = 40, 200, 250, 25
TRAIN, TEST, BATCH = 192, 32, 8


def model_of(seed: int, mesh: Mesh, runs: Tensor, nu: Tensor) -> MessagePassingSolver:
    """An untrained solver with the scales of the data."""
    torch.manual_seed(seed)
    window = ("u", "P1", WINDOW)
    model = MessagePassingSolver(
        ["nu", window], [window], dim=1, window=WINDOW, width=64, blocks=5, period=[LENGTH]
    )
    count = range(0, len(runs), 8)
    pairs = [(fields(nu[k : k + 1]), windows(runs[k : k + 1], 75)) for k in count]
    model.fit_scales((mesh, {**a, "u": u}, {"u": u}) for a, u in pairs)
    return model


def windows(runs: Tensor, last: int) -> Tensor:
    """The window that ends with state `last` of each run, for a batch `[runs * points, WINDOW]`."""
    return runs[:, last - WINDOW + 1 : last + 1].transpose(1, 2).reshape(-1, WINDOW)


def fields(nu: Tensor) -> dict[str, Tensor]:
    """Parameters of a batch."""
    return {"nu": nu.repeat_interleave(POINTS)}


def trained(
    seed: int, pushforward: bool, steps: int, mesh: Mesh, runs: Tensor, nu: Tensor
) -> MessagePassingSolver:
    """A solver after so many steps; its own windows are its inputs in half of them."""
    model = model_of(seed, mesh, runs, nu)
    batch = Batch.from_data_list([mesh] * BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        pick = torch.randint(len(runs), (BATCH,), generator=rng)
        free = int(torch.randint(2, (1,), generator=rng)) if pushforward and step > steps / 5 else 0
        first = int(torch.randint(WINDOW - 1, STEPS + 1 - (1 + free) * WINDOW, (1,), generator=rng))
        rollout = Rollout(model, batch, fields(nu[pick]), stepper=Stepper("next"))
        state = {"u": windows(runs[pick], first)}
        with torch.no_grad():
            state = [state, *rollout.run(state, 1.0, free)][-1]
        (found,) = rollout.run(state, 1.0, 1)
        loss = (found["u"] - windows(runs[pick], first + (1 + free) * WINDOW)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        plan.step()
    return model


def error(found: Tensor, truth: Tensor) -> float:
    """Accumulated error of runs `[runs, time, points]`, the mean over runs."""
    return float((found - truth).square().mean(dim=2).sum(dim=1).mean())


def main() -> None:
    """Print the errors."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    seeds = [int(a) for a in sys.argv[2:]] or [0, 1]
    mesh, _ = ring(POINTS)
    forcing, nu = drawn(TRAIN, 0)
    runs = solved(forcing, nu, FINE, STEPS)[:, :, :: FINE // POINTS]
    forcing, unseen = drawn(TEST, 1)
    truth = solved(forcing, unseen, FINE, STEPS)[:, :, :: FINE // POINTS]
    start, later = WINDOW - 1, truth[:, WINDOW : WINDOW + 9 * WINDOW]
    weno = solved(
        forcing, unseen, POINTS, STEPS - start, 4 * (1 - start / STEPS),
        begin=4 * start / STEPS, first=truth[:, start],
    )[:, 1 : later.shape[1] + 1]  # fmt: skip
    print(f"WENO5 on {POINTS} points: {error(weno, later):.3f}", flush=True)
    kept = truth[:, start : start + 1].expand_as(later)
    print(f"persistence: {error(kept, later):.3f}", flush=True)
    batch = Batch.from_data_list([mesh] * TEST)
    for seed in seeds:
        for pushforward in (True, False):
            model = trained(seed, pushforward, steps, mesh, runs, nu)
            rollout = Rollout(model, batch, fields(unseen), stepper=Stepper("next"))
            with torch.no_grad():
                states = list(rollout.run({"u": windows(truth, start)}, 1.0, 9))
            found = torch.cat([s["u"].view(TEST, POINTS, WINDOW).mT for s in states], dim=1)
            name = "pushforward" if pushforward else "one step"
            print(f"seed {seed}, {name}: {error(found, later):.3f}", flush=True)


if __name__ == "__main__":
    main()
