let () =
  print_endline "before";
  print_int (List.nth [ 1; 2 ] 2);
  print_endline "never"
