for word in ("Grüße", "Привет", "こんにちは", "🙂"):
    print(word, len(word))
