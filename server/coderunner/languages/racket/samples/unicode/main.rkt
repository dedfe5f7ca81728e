#lang racket

(for ([word (list "Grüße" "Привет" "こんにちは" "🙂")])
  (printf "~a ~a\n" word (string-length word)))
