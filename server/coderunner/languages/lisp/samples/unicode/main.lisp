(dolist (word (list "Grüße" "Привет" "こんにちは" "🙂"))
  (format t "~a ~d~%" word (length word)))
