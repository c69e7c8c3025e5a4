// gmsh -3 -nt 1 -format msh41 -bin box.geo -o box.msh
// The box (0, 1) x (0, 1) x (0, 1), unstructured tetrahedra.
h = 0.08;

Point(1) = {0, 0, 0, h};
Point(2) = {1, 0, 0, h};
Point(3) = {1, 1, 0, h};
Point(4) = {0, 1, 0, h};
Line(1) = {1, 2};
Line(2) = {2, 3};
Line(3) = {3, 4};
Line(4) = {4, 1};
Curve Loop(1) = {1:4};
Plane Surface(1) = {1};

// swept() holds the top, the volume, then the sides in the order of the lines.
swept() = Extrude {0, 0, 1} { Surface{1}; };

Physical Surface("bottom") = {1};
Physical Surface("top") = {swept(0)};
Physical Surface("front") = {swept(2)};
Physical Surface("right") = {swept(3)};
Physical Surface("back") = {swept(4)};
Physical Surface("left") = {swept(5)};
Physical Volume("domain") = {swept(1)};
