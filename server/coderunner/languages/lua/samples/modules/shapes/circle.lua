local circle = {}

function circle.area(radius)
  return math.pi * radius ^ 2
end

return circle
