program leaving
  print "(a)", "leaving with 7"
  call exit(7)
end program
