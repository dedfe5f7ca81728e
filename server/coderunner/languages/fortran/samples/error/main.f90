program failure
  print "(a)", "before"
  error stop 3
end program
