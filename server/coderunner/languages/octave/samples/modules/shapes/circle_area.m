function area = circle_area(radius)
  area = pi * radius ^ 2;
end
