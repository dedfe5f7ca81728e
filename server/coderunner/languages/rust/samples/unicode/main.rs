fn main() {
    for word in ["Grüße", "Привет", "こんにちは", "🙂"] {
        println!("{} {}", word, word.chars().count());
    }
}
