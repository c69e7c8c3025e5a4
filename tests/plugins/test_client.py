"""The client without torch, against a real server in another process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import meshlearn as ml
from meshlearn.fem.recovery import l2_error_estimate, recover
from meshlearn.mesh import Mesh
from meshlearn.monitors import Hessian
from meshlearn.movers import Variational
from meshlearn.plugins import client as client_module
from meshlearn.plugins import wire
from meshlearn.plugins.client import Client, RemoteError, ServerGoneError, as_client
from meshlearn.plugins.server import port_listener, serve_socket, unix_listener

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client.start(timeout=120) as started:
        yield started


@pytest.fixture(scope="module")
def square() -> Mesh:
    return ml.generate.rectangle(12, 12)


def front(mesh: Mesh) -> torch.Tensor:
    return torch.tanh((0.5 - mesh.pos.norm(dim=1)) / 0.05)


def test_it_needs_nothing_but_numpy() -> None:
    """In a Python where nothing else of the dependencies can be imported."""
    script = """
        import sys

        class Refuse:
            allowed = {"numpy", "meshlearn"} | set(sys.stdlib_module_names)

            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] not in self.allowed:
                    raise ImportError(name)

        sys.meta_path.insert(0, Refuse())
        import numpy as np
        import meshlearn
        from meshlearn.plugins import client

        points = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [0.4, 0.5]])
        cells = {"triangle": [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]}
        with client.Client.start() as server:
            moved, report = server.adapt(points, cells, monitor=np.array([1.0, 9, 9, 1, 4]))
        assert moved[4, 0] > 0.41 and report["inverted_cells"] == 0
        assert (moved[:4] == points[:4]).all()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_server_moves_as_the_library_does(client: Client, square: Mesh) -> None:
    u = front(square)
    here = Variational().move(square, Hessian(square, u), fixed=["left"])
    tags = {"facet": {name: nodes.numpy() for name, nodes in square.facet_tags.items()}}
    cells = {name: nodes.numpy() for name, nodes in square.cells.items()}
    there, report = client.adapt(
        square.pos.numpy(), cells, tags, u.numpy(), fixed=["left"], slide="flat"
    )
    np.testing.assert_allclose(there, here.mesh.pos.numpy(), rtol=0, atol=1e-12)
    assert report["converged"]
    assert report["iterations"] == here.report.iterations


def test_what_it_gives_back_can_be_given_again(client: Client, square: Mesh) -> None:
    """Measured against the first mesh and started from the last: nothing is left to do."""
    cells, u = {"triangle": square.cells["triangle"].numpy()}, front(square).numpy()
    first, _ = client.adapt(square.pos.numpy(), cells, field=u)
    weight = 1 + np.exp(-80 * (np.linalg.norm(first, axis=1) - 0.5) ** 2)
    moved, _ = client.adapt(square.pos.numpy(), cells, monitor=weight, start=first, iterations=5)
    again, report = client.adapt(square.pos.numpy(), cells, monitor=np.ones(len(moved)))
    assert np.abs(moved - first).max() > 1e-3
    np.testing.assert_allclose(again, square.pos.numpy(), rtol=0, atol=1e-6)
    assert report["moves"] == 1


def test_fixed_nodes_by_number_stay_bit_for_bit(client: Client, square: Mesh) -> None:
    stay = np.array([40, 41, 100])
    moved, _ = client.adapt(
        square.pos, {"triangle": square.cells["triangle"]}, field=front(square), fixed=stay
    )
    assert (moved[stay] == square.pos.numpy()[stay]).all()
    assert (moved != square.pos.numpy()).any()


def test_estimates_and_transfers_are_those_of_the_library(client: Client, square: Mesh) -> None:
    u, cells = front(square), {"triangle": square.cells["triangle"].numpy()}
    result = Variational().move(square, Hessian(square, u))
    old, new = square.pos.numpy(), result.mesh.pos.numpy()
    hessian = recover(square, u).hessian
    expected = [l2_error_estimate(mesh, square, hessian) for mesh in (square, result.mesh)]
    found = client.estimate(cells, [old, new], old, u.numpy())
    assert found == pytest.approx([float(value) for value in expected], rel=1e-12)
    assert found[1] < found[0] / 2
    linear = 3 * old[:, :1] - old[:, 1:]
    carried = client.transfer(cells, old, new, "P1", old[::-1], linear[::-1], "conservative")
    np.testing.assert_allclose(carried[::-1], 3 * new[:, :1] - new[:, 1:], atol=1e-12)


def test_progress_is_told(client: Client, square: Mesh) -> None:
    told: list[tuple[int, float]] = []
    _, report = client.adapt(
        square.pos,
        {"triangle": square.cells["triangle"]},
        field=front(square),
        progress=lambda iteration, residual: told.append((iteration, residual)),
    )
    assert [iteration for iteration, _ in told] == list(range(1, report["iterations"] + 1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"field": None}, "there is nothing to follow"),
        ({"field": np.ones(3)}, r"a value for each of the 169 nodes, got shape \[3\]"),
        ({"field": np.full(169, np.nan)}, "not finite at 169 nodes, first node 0"),
        ({"mover": "teleport"}, "unknown mover 'teleport'"),
        ({"monitor": "hess"}, "unknown monitor 'hess'"),
        ({"fixed": ["inlet"]}, "there is no tag 'inlet'"),
        ({"slide": "up"}, "unknown value of slide 'up'"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"monitor": np.ones(169)}, "the densities say all, leave the field"),
        ({"monitor": -np.ones(169), "field": None}, "not finite and positive at 169 nodes"),
        ({"pairs": [[0, 169]]}, "pairs name node 169, but there are 169 nodes"),
        ({"pairs": [0, 1]}, r"pairs must be nodes \[k, 2\], got shape \[2\]"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(
    client: Client, square: Mesh, change: dict[str, object], sentence: str
) -> None:
    options = {"field": front(square), **change}
    with pytest.raises(RemoteError, match=sentence):
        client.adapt(square.pos, {"triangle": square.cells["triangle"]}, **options)  # type: ignore[arg-type]
    client.adapt(square.pos, {"triangle": square.cells["triangle"]}, field=front(square))


def test_a_mesh_that_is_none_is_refused(client: Client) -> None:
    with pytest.raises(RemoteError, match="cell 0 names node 7"):
        client.adapt(np.eye(3)[:, :2], {"triangle": [[0, 1, 7]]}, field=np.ones(3))
    with pytest.raises(RemoteError, match="unknown cell type 'blob'"):
        client.adapt(np.eye(3)[:, :2], {"blob": [[0, 1, 2]]}, field=np.ones(3))


def test_what_cannot_be_sent_is_an_error_here(client: Client) -> None:
    cells = {"triangle": [[0, 1, 2]]}
    with pytest.raises(ValueError, match="points must be real numbers, got complex128"):
        client.adapt(np.ones((3, 2)) * 1j, cells, field=np.ones(3))
    with pytest.raises(ValueError, match="cells of type 'triangle' must be integer indices"):
        client.adapt(np.ones((3, 2)), {"triangle": [[0.0, 1, 2]]}, field=np.ones(3))
    with pytest.raises(ValueError, match="tags are of the kinds facet, cell, point, not 'edge'"):
        client.adapt(np.ones((3, 2)), cells, {"edge": {}}, np.ones(3))


def test_a_server_that_dies_is_named() -> None:
    client = Client.start(timeout=120)
    client._link.process.kill()  # type: ignore[attr-defined]
    client._link.process.wait()  # type: ignore[attr-defined]
    with pytest.raises(ServerGoneError, match=r"the server is gone \(exit code -9"):
        client.adapt(np.ones((3, 2)), {"triangle": [[0, 1, 2]]}, field=np.ones(3))
    with pytest.raises(ServerGoneError, match="the client is closed"):
        client.adapt(np.ones((3, 2)), {"triangle": [[0, 1, 2]]}, field=np.ones(3))


def test_a_deadly_sigpipe_is_an_error_all_the_same(tmp_path: Path) -> None:
    """gmsh and PETSc put the signal back to what ends the process."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    script = """
        import signal, socket, sys
        from meshlearn.plugins.links import ProcessLink, SocketLink
        from meshlearn.plugins.wire import Message, StreamEndError

        def fails(link):
            try:
                for _ in range(3):  # the first may still be taken
                    link.send(Message("hello"), 10.0)
            except StreamEndError:
                link.close()
                return True

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        link = ProcessLink(sys.argv[1])
        link.process.wait()
        assert fails(link)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            link = SocketLink(listener.getsockname()[1], 10.0)
            listener.accept()[0].close()
            assert fails(link)
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) and not signal.sigpending()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(python)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.returncode


def test_the_last_words_of_a_server_are_told(tmp_path: Path) -> None:
    """A Python without this package."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named meshlearn' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(ServerGoneError, match="exit code 1; it said: No module named meshlearn"):
        Client.start(python)
    with pytest.raises(FileNotFoundError, match=r"cannot start .*nowhere for the server"):
        Client.start(tmp_path / "nowhere")


def test_a_server_that_says_nothing_is_stopped(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    with pytest.raises(TimeoutError, match=r"the server was stopped after 0.5 s"):
        Client.start(python, timeout=0.5)


def test_another_program_is_not_taken_for_a_server(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Welcome to the wrong program'\ncat >/dev/null\n")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match="expected a message, got bytes that begin with b'Welc"):
        Client.start(python)


def test_a_server_of_another_protocol_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "hello").open("wb") as file:
        wire.send(file.write, wire.Message("hello", {"protocol": 99, "meshlearn": "9.9"}))
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat {tmp_path}/hello\nexec cat >/dev/null\n")
    python.chmod(0o755)
    with pytest.raises(ServerGoneError, match="protocol 99, this client 1: install the same"):
        Client.start(python)


@pytest.fixture
def port() -> Iterator[int]:
    """A server in a thread at a free port, with the token "secret"."""
    stop = threading.Event()
    with port_listener(0) as listener:
        thread = threading.Thread(target=serve_socket, args=(listener, "secret", stop))
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join()


def test_a_port_asks_for_its_token(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points, cells = np.array([[0.0, 0], [1, 0], [0, 1]]), {"triangle": [[0, 1, 2]]}
    with Client.connect(port, "secret", timeout=60) as client:
        moved, _ = client.adapt(points, cells, monitor=np.ones(3))
    assert (moved == points).all()
    with pytest.raises(RemoteError, match="the token is wrong"):
        Client.connect(port, "guess", timeout=60)
    monkeypatch.setenv(client_module.TOKEN, "secret")
    moved, _ = client_module.adapt(points, cells, monitor=np.ones(3), remote=port)
    assert (moved == points).all()


def test_a_port_is_on_this_machine_only(port: int) -> None:
    with port_listener(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with (
            pytest.raises(ml.MeshError, match=f"cannot listen at port {port}"),
            port_listener(port),
        ):
            pass


def test_nobody_there(tmp_path: Path) -> None:
    with port_listener(0) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"no server answers at port {free}"):
        Client.connect(free)
    with pytest.raises(ConnectionError, match=r"no server answers at .*none.sock"):
        Client.connect(tmp_path / "none.sock")


def test_a_unix_socket_serves_several_at_once(tmp_path: Path) -> None:
    path, stop = tmp_path / "s", threading.Event()
    points, cells = np.array([[0.0, 0], [1, 0], [0, 1]]), {"triangle": [[0, 1, 2]]}
    with unix_listener(path) as listener:
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(ml.MeshError, match="exists already"), unix_listener(path):
            pass
        thread = threading.Thread(target=serve_socket, args=(listener, "", stop))
        thread.start()
        with as_client(str(path)) as first, as_client(path) as second, as_client(first) as same:
            assert same is first
            for client in (second, first):
                moved, _ = client.adapt(points, cells, monitor=np.ones(3))
                assert (moved == points).all()
        stop.set()
        thread.join()
    assert not path.exists()
