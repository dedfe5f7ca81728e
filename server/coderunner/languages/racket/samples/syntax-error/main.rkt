#lang racket

(displayln "never")
(if #t
