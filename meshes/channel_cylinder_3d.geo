// gmsh -3 -nt 1 -format msh41 -bin channel_cylinder_3d.geo -o channel_cylinder_3d.msh
// DFG 3D benchmark: channel 2.5 x 0.41 x 0.41, cylinder of radius 0.05 along z through (0.5, 0.2).
h = 0.08;       // in the channel
near = 0.03;    // on the cylinder
r = 0.05;

Point(1) = {0, 0, 0, h};
Point(2) = {2.5, 0, 0, h};
Point(3) = {2.5, 0.41, 0, h};
Point(4) = {0, 0.41, 0, h};
Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 1};

Point(5) = {0.5, 0.2, 0, near};
Point(6) = {0.5 + r, 0.2, 0, near};
Point(7) = {0.5, 0.2 + r, 0, near};
Point(8) = {0.5 - r, 0.2, 0, near};
Point(9) = {0.5, 0.2 - r, 0, near};
Circle(5) = {6, 5, 7};
Circle(6) = {7, 5, 8};
Circle(7) = {8, 5, 9};
Circle(8) = {9, 5, 6};

Curve Loop(1) = {1:4};
Curve Loop(2) = {5:8};
Plane Surface(1) = {1, 2};

// swept() holds the far side, the volume, then the sides in the order of the lines and circles.
swept() = Extrude {0, 0, 0.41} { Surface{1}; };

Physical Surface("inlet") = {swept(5)};
Physical Surface("outlet") = {swept(3)};
Physical Surface("walls") = {1, swept(0), swept(2), swept(4)};
Physical Surface("cylinder") = {swept(6), swept(7), swept(8), swept(9)};
Physical Volume("fluid") = {swept(1)};
