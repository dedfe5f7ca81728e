["Grüße", "Привет", "こんにちは", "🙂"].each { |word| puts "#{word} #{word.length}" }
