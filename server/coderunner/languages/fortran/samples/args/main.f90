program arguments
  implicit none
  character(len=64) :: argument
  integer :: i

  do i = 1, command_argument_count()
    call get_command_argument(i, argument)
    print "(i0, 1x, a)", i, trim(argument)
  end do
end program
