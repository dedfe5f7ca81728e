(define (third numbers)
  (list-ref numbers 2))

(display "before\n")
(force-output)
(display (third (list 1 2)))
(display "never\n")
