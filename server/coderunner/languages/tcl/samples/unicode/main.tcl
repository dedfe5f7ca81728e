# A character beyond the first 65,536 counts as two in this version of the language.
foreach word {Grüße Привет こんにちは 🙂} {
    puts "$word [string length $word]"
}
