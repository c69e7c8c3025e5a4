// gmsh -2 -nt 1 -format msh41 l_shape.geo -o l_shape.msh
// The square (-1, 1) x (-1, 1) less its lower right quadrant: the re-entrant corner is the origin.
h = 0.08;

Point(1) = {0, 0, 0, h};
Point(2) = {1, 0, 0, h};
Point(3) = {1, 1, 0, h};
Point(4) = {-1, 1, 0, h};
Point(5) = {-1, -1, 0, h};
Point(6) = {0, -1, 0, h};
Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 5};
Line(5) = {5, 6};
Line(6) = {6, 1};
Curve Loop(1) = {1:6};
Plane Surface(1) = {1};

Physical Curve("boundary") = {1:6};
Physical Surface("domain") = {1};
