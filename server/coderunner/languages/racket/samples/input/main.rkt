#lang racket

(display "What is your name? ")
(flush-output)
(printf "Hello, ~a!\n" (read-line))
