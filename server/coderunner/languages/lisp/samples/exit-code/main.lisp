(format t "leaving with 7~%")
(finish-output)
(sb-ext:exit :code 7)
