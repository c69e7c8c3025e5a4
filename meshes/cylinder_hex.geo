// gmsh -3 -nt 1 -format msh41 -bin cylinder_hex.geo -o cylinder_hex.msh
// Cylinder of radius 0.5 and height 2 along z, hexahedra around a square core (an O-grid).
n = 6;           // cells on a side of the core, and on a quarter of the circle
m = 4;           // cells from the core to the circle
layers = 16;     // cells along z
r = 0.5 * Sqrt(2) / 2;
c = 0.22;        // half-width of the core

Point(1) = {0, 0, 0};
Point(2) = {-c, -c, 0};
Point(3) = {c, -c, 0};
Point(4) = {c, c, 0};
Point(5) = {-c, c, 0};
Point(6) = {-r, -r, 0};
Point(7) = {r, -r, 0};
Point(8) = {r, r, 0};
Point(9) = {-r, r, 0};
Point(10) = {0, 3 * c, 0};   // the sides of the core bulge: centres of their arcs
Point(11) = {-3 * c, 0, 0};
Point(12) = {0, -3 * c, 0};
Point(13) = {3 * c, 0, 0};
Circle(1) = {2, 10, 3};
Circle(2) = {3, 11, 4};
Circle(3) = {4, 12, 5};
Circle(4) = {5, 13, 2};
Circle(5) = {6, 1, 7};
Circle(6) = {7, 1, 8};
Circle(7) = {8, 1, 9};
Circle(8) = {9, 1, 6};
Line(9) = {2, 6};
Line(10) = {3, 7};
Line(11) = {4, 8};
Line(12) = {5, 9};

Curve Loop(1) = {1:4};
Curve Loop(2) = {9, 5, -10, -1};
Curve Loop(3) = {10, 6, -11, -2};
Curve Loop(4) = {11, 7, -12, -3};
Curve Loop(5) = {12, 8, -9, -4};
For i In {1:5}
  Plane Surface(i) = {i};
EndFor
Transfinite Curve {1:8} = n + 1;
Transfinite Curve {9:12} = m + 1;
Transfinite Surface {1:5};
Recombine Surface {1:5};

// Each list holds the top, the volume, then the four sides of one block; side 3 is on the circle.
top() = {};
side() = {};
volumes() = {};
For i In {1:5}
  block() = Extrude {0, 0, 2} { Surface{i}; Layers{layers}; Recombine; };
  top() += {block(0)};
  volumes() += {block(1)};
  If (i > 1)
    side() += {block(3)};
  EndIf
EndFor

Physical Surface("bottom") = {1:5};
Physical Surface("top") = {top()};
Physical Surface("side") = {side()};
Physical Volume("domain") = {volumes()};
