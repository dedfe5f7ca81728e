circle_area <- function(radius) {
  pi * radius^2
}
