SELECT word, length(word) FROM (VALUES ('Grüße'), ('Привет'), ('こんにちは'), ('🙂')) AS words (word);
