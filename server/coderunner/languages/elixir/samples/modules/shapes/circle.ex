defmodule Shapes.Circle do
  def area(radius), do: :math.pi() * radius ** 2
end
