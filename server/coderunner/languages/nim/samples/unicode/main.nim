import unicode

for word in ["Grüße", "Привет", "こんにちは", "🙂"]:
  echo word, " ", word.runeLen
