// gmsh -2 -nt 1 -format msh41 -bin plate_hole_quad.geo -o plate_hole_quad.msh
// Quarter of a square plate of half-width 4 with a round hole of radius 1, structured quads.
n = 16;         // cells on each half of the hole
m = 24;         // cells from the hole outward
growth = 1.06;  // of their widths
s = Sqrt(2) / 2;

Point(1) = {0, 0, 0};
Point(2) = {1, 0, 0};
Point(3) = {s, s, 0};
Point(4) = {0, 1, 0};
Point(5) = {4, 0, 0};
Point(6) = {4, 4, 0};
Point(7) = {0, 4, 0};
Circle(1) = {2, 1, 3};
Circle(2) = {3, 1, 4};
Line(3) = {2, 5};
Line(4) = {3, 6};
Line(5) = {4, 7};
Line(6) = {5, 6};
Line(7) = {6, 7};

Curve Loop(1) = {3, 6, -4, -1};
Curve Loop(2) = {4, 7, -5, -2};
Plane Surface(1) = {1};
Plane Surface(2) = {2};
Transfinite Curve {1, 2, 6, 7} = n + 1;
Transfinite Curve {3, 4, 5} = m + 1 Using Progression growth;
Transfinite Surface {1, 2};
Recombine Surface {1, 2};

Physical Curve("hole") = {1, 2};
Physical Curve("bottom") = {3};
Physical Curve("left") = {5};
Physical Curve("right") = {6};
Physical Curve("top") = {7};
Physical Surface("domain") = {1, 2};
