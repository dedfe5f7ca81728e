#lang racket

(provide circle-area)

(define (circle-area radius)
  (* pi radius radius))
