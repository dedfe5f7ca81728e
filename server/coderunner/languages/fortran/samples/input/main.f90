program input
  implicit none
  character(len=64) :: name

  write (*, "(a)", advance="no") "What is your name? "
  read (*, "(a)") name
  print "(3a)", "Hello, ", trim(name), "!"
end program
