for number, argument in ipairs(arg) do
  print(number .. " " .. argument)
end
