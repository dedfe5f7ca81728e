(for-each
 (lambda (word)
   (display word)
   (display " ")
   (display (string-length word))
   (newline))
 (list "Grüße" "Привет" "こんにちは" "🙂"))
