let rec factorial n = if n = 0 then Z.one else Z.mul (Z.of_int n) (factorial (n - 1))

let () = print_endline (Z.to_string (factorial 30))
