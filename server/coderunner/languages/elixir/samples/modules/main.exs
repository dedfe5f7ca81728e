Code.require_file("shapes/circle.ex")

IO.puts(:erlang.float_to_binary(Shapes.Circle.area(2), decimals: 3))
