program areas
  use shapes
  implicit none

  print "(f6.3)", area(2.0d0)
end program
