(defun third-of (numbers)
  (/ 1 (length numbers)))

(format t "before~%")
(print (third-of (list)))
(format t "never~%")
