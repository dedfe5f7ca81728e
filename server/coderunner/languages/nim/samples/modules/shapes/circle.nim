import math

type Circle* = object
  radius*: float

proc area*(circle: Circle): float = PI * circle.radius ^ 2
