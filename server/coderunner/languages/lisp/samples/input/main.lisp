(format t "What is your name? ")
(finish-output)
(format t "Hello, ~a!~%" (read-line))
