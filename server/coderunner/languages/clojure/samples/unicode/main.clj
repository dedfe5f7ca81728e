(doseq [word ["Grüße" "Привет" "こんにちは" "🙂"]]
  (println word (.codePointCount word 0 (count word))))
