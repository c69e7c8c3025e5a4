// gmsh -2 -nt 1 -format msh41 -bin backward_facing_step.geo -o backward_facing_step.msh
// Channel of height 1 that widens to 2 at x = 0, 2 long before the step and 15 behind it.
h = 0.13;

Point(1) = {0, 0, 0, h};
Point(2) = {15, 0, 0, h};
Point(3) = {15, 2, 0, h};
Point(4) = {-2, 2, 0, h};
Point(5) = {-2, 1, 0, h};
Point(6) = {0, 1, 0, h / 2};
Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 5};
Line(5) = {5, 6};
Line(6) = {6, 1};
Curve Loop(1) = {1:6};
Plane Surface(1) = {1};

Physical Curve("inlet") = {4};
Physical Curve("outlet") = {2};
Physical Curve("walls") = {1, 3, 5, 6};
Physical Surface("fluid") = {1};
