let () = Printf.printf "%.3f\n" (Circle.area 2.0)
