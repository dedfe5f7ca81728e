for word in ["Grüße", "Привет", "こんにちは", "🙂"]
  console.log "#{word} #{[word...].length}"
