for _, word in ipairs({ "Grüße", "Привет", "こんにちは", "🙂" }) do
  print(word .. " " .. utf8.len(word))
end
