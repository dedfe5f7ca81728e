#lang htdp/asl

(provide sum)

(define (sum a b) (+ a b))
