(load "shapes/circle.lisp")

(format t "~,3f~%" (circle-area 2))
