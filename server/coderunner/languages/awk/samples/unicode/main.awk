BEGIN {
    count = split("Grüße Привет こんにちは 🙂", words, " ")
    for (number = 1; number <= count; number++)
        print words[number], length(words[number])
}
