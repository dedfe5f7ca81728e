WITH words(word) AS (VALUES ('Grüße'), ('Привет'), ('こんにちは'), ('🙂'))
SELECT word, length(word) AS length FROM words;
