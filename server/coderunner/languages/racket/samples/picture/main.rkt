#lang racket

(require 2htdp/image)

(define picture (beside (circle 10 "solid" "red") (square 30 "outline" "blue")))
(displayln (list (image-width picture) (image-height picture)))
(displayln (save-image picture "picture.png"))
