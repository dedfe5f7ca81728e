identification division.
program-id. unicode.
procedure division.
    display "Grüße"
    display "Привет"
    display "こんにちは"
    display "🙂"
    stop run.
