for word <- ["Grüße", "Привет", "こんにちは", "🙂"] do
  IO.puts("#{word} #{String.length(word)}")
end
