for <Grüße Привет こんにちは 🙂> -> $word {
    say "$word {$word.chars}";
}
