"""A VTK pipeline that adapts a grid to a point array; the same file is a ParaView plug-in."""

import numpy as np
import pyvista as pv

from meshlearn.plugins.vtk_filter import AdaptMesh

grid = pv.Plane(i_resolution=30, j_resolution=30).triangulate().cast_to_unstructured_grid()
grid["u"] = np.tanh((0.3 - np.linalg.norm(grid.points, axis=1)) / 0.04).astype(float)

adapt = AdaptMesh()
adapt.SetField("u")
adapt.SetStrength(3.0)
adapt.SetInputDataObject(grid)
adapt.Update()
moved = pv.wrap(adapt.GetOutputDataObject(0))

print(f"largest displacement {np.linalg.norm(moved['displacement'], axis=1).max():.3f}")
print(f"smallest quality {adapt.report['min_quality']:.2f}")
plotter = pv.Plotter(shape=(1, 2), off_screen=True, window_size=(1200, 600))
for k, shown in enumerate((grid, moved)):
    plotter.subplot(0, k)
    plotter.add_mesh(shown, scalars="u", show_edges=True, show_scalar_bar=False, copy_mesh=True)
    plotter.view_xy()
plotter.screenshot("vtk_pipeline.png")
