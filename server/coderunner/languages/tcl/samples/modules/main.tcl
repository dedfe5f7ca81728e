source shapes/circle.tcl

puts [format "%.3f" [shapes::circle_area 2]]
