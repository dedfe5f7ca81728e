(use-modules (ice-9 format))
(load "shapes/circle.scm")

(format #t "~,3f~%" (circle-area 2))
