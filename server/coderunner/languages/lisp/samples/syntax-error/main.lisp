(when t
  (format t "never~%")
