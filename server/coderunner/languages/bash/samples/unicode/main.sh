for word in Grüße Привет こんにちは 🙂; do
    echo "$word ${#word}"
done
