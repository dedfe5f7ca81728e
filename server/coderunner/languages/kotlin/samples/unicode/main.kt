fun main() {
    for (word in listOf("Grüße", "Привет", "こんにちは", "🙂")) {
        println("$word ${word.codePointCount(0, word.length)}")
    }
}
