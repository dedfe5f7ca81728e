#lang racket

(displayln "before")
(displayln (third (list 1 2)))
(displayln "never")
