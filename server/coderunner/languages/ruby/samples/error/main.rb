def third(list)
  list.fetch(2)
end

puts "before"
puts third([1, 2])
puts "never"
