// gmsh -2 -nt 1 -format msh41 -bin naca0012.geo -o naca0012.msh
// NACA 0012 aerofoil of chord 1 with a closed trailing edge, in a circle of radius 10.
h = 0.02;         // on the aerofoil; a quarter of it at the nose and the tail
h_far = 1.25;     // on the circle
far = 10;
t = 0.12;         // thickness
n = 40;           // points on each quarter of the section

// Points 1000 + i run over the upper side from the nose (i = 0) to the tail (i = 2 n); points
// 2000 + i over the lower one.
For i In {0 : 2 * n}
  x = (1 - Cos(Pi * i / (2 * n))) / 2;
  y = 5 * t * (0.2969 * Sqrt(x) - 0.1260 * x - 0.3516 * x^2 + 0.2843 * x^3 - 0.1036 * x^4);
  If (i == 0 || i == 2 * n)
    Point(1000 + i) = {x, 0, 0, h / 4};
  Else
    Point(1000 + i) = {x, y, 0, h};
    Point(2000 + i) = {x, -y, 0, h};
  EndIf
EndFor
Spline(1) = {1000 : 1000 + n};
Spline(2) = {1000 + n : 1000 + 2 * n};
Spline(3) = {1000, 2001 : 2000 + n};
Spline(4) = {2000 + n : 2000 + 2 * n - 1, 1000 + 2 * n};

Point(1) = {0.5, 0, 0, h_far};
Point(2) = {0.5 + far, 0, 0, h_far};
Point(3) = {0.5, far, 0, h_far};
Point(4) = {0.5 - far, 0, 0, h_far};
Point(5) = {0.5, -far, 0, h_far};
Circle(5) = {2, 1, 3};
Circle(6) = {3, 1, 4};
Circle(7) = {4, 1, 5};
Circle(8) = {5, 1, 2};

Curve Loop(1) = {5:8};
Curve Loop(2) = {3, 4, -2, -1};
Plane Surface(1) = {1, 2};

Physical Curve("aerofoil") = {1:4};
Physical Curve("far_field") = {5:8};
Physical Surface("fluid") = {1};
