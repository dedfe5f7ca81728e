module shapes
  implicit none
  real(8), parameter :: pi = acos(-1.0d0)
contains
  real(8) function area(radius)
    real(8), intent(in) :: radius
    area = pi * radius**2
  end function
end module
