ARGV.each.with_index(1) { |argument, number| puts "#{number} #{argument}" }
