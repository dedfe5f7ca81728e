require_relative "shapes/circle"

puts format("%.3f", Shapes::Circle.new(2).area)
