(use-modules (ice-9 rdelim))

(display "What is your name? ")
(force-output)
(let ((name (read-line)))
  (display (string-append "Hello, " name "!\n")))
