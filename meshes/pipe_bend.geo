// gmsh -3 -nt 1 -format msh41 -bin pipe_bend.geo -o pipe_bend.msh
// Pipe of radius 0.5 that turns by 90 degrees about x = 1.5, y = 0, with legs of length 1.
h = 0.18;
r = 0.5;
bend = 1.5;
leg = 1;

Point(1) = {0, -leg, 0, h};
Point(2) = {r, -leg, 0, h};
Point(3) = {0, -leg, r, h};
Point(4) = {-r, -leg, 0, h};
Point(5) = {0, -leg, -r, h};
Circle(1) = {2, 1, 3};
Circle(2) = {3, 1, 4};
Circle(3) = {4, 1, 5};
Circle(4) = {5, 1, 2};
Curve Loop(1) = {1:4};
Plane Surface(1) = {1};

// Each list holds the end, the volume, then the four walls of one part of the pipe.
first() = Extrude {0, leg, 0} { Surface{1}; };
turn() = Extrude { {0, 0, 1}, {bend, 0, 0}, -Pi / 2 } { Surface{first(0)}; };
last() = Extrude {leg, 0, 0} { Surface{turn(0)}; };

Physical Surface("inlet") = {1};
Physical Surface("outlet") = {last(0)};
Physical Surface("walls") = {first({2:5}), turn({2:5}), last({2:5})};
Physical Volume("fluid") = {first(1), turn(1), last(1)};
