program wrong
  implicit none
  print *, undeclared
end program
