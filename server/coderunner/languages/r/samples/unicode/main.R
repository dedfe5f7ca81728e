for (word in c("Grüße", "Привет", "こんにちは", "🙂")) {
  cat(word, " ", nchar(word), "\n", sep = "")
}
