"""Animations: one picture after the other, with one colour scale, in a GIF."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .drawing import Panel, limits_of, save
from .errors import MeshError
from .files.replacing import replacing

_COLOURS = 64


def animate(
    frames: Sequence[Panel], path: str | Path, *, milliseconds: int = 150, width: int = 400
) -> Path:
    """Draw frames into a GIF that repeats.

    Args:
        frames: at least one; meshes and values may change.
        path: ends in .gif.
        milliseconds: that a frame is shown.
        width: of the picture, in pixels.

    Raises:
        MeshError: another suffix, no frame, or a folder that cannot be written.
    """
    target = Path(path)
    check_gif(target)
    if not frames:
        raise MeshError("an animation needs at least one frame")
    limits, pictures = limits_of(frames), []
    with replacing(target) as temporary, tempfile.TemporaryDirectory() as folder:
        for frame in frames:
            with Image.open(save([frame], Path(folder) / "frame.png", limits=limits)) as image:
                small = image.convert("RGB").resize((width, width * image.height // image.width))
                pictures.append(small.quantize(_COLOURS, dither=Image.Dither.NONE))
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=milliseconds,
            loop=0,
        )
    return target


def check_gif(path: Path) -> None:
    """Raise `MeshError` unless a path ends in .gif."""
    if path.suffix.lower() != ".gif":
        raise MeshError(f"animations are GIF files, got {path.name!r}; end the name in .gif")
