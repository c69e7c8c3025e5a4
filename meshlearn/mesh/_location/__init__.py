"""Parts of point location: simplices, seeds, the walk, box tree, closest points."""
