(define pi (* 4 (atan 1)))

(define (circle-area radius)
  (* pi radius radius))
