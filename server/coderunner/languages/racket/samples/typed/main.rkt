#lang typed/racket

(: area (-> Real Real))
(define (area r) (* 3 r r))

(displayln (area 2))
