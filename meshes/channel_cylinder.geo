// gmsh -2 -nt 1 -format msh41 -bin channel_cylinder.geo -o channel_cylinder.msh
// DFG 2D benchmark: channel 2.2 x 0.41, cylinder of radius 0.05 at (0.2, 0.2).
h = 0.02;       // in the channel
near = h / 4;   // on the cylinder
r = 0.05;

Point(1) = {0, 0, 0, h};
Point(2) = {2.2, 0, 0, h};
Point(3) = {2.2, 0.41, 0, h};
Point(4) = {0, 0.41, 0, h};
Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 1};

Point(5) = {0.2, 0.2, 0, near};
Point(6) = {0.2 + r, 0.2, 0, near};
Point(7) = {0.2, 0.2 + r, 0, near};
Point(8) = {0.2 - r, 0.2, 0, near};
Point(9) = {0.2, 0.2 - r, 0, near};
Circle(5) = {6, 5, 7};
Circle(6) = {7, 5, 8};
Circle(7) = {8, 5, 9};
Circle(8) = {9, 5, 6};

Curve Loop(1) = {1:4};
Curve Loop(2) = {5:8};
Plane Surface(1) = {1, 2};

Physical Curve("inlet") = {4};
Physical Curve("outlet") = {2};
Physical Curve("walls") = {1, 3};
Physical Curve("cylinder") = {5:8};
Physical Surface("fluid") = {1};
