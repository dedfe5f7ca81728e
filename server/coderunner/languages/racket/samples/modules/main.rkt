#lang racket

(require "shapes/circle.rkt")

(displayln (real->decimal-string (circle-area 2) 3))
