(print "What is your name? ")
(flush)
(println (str "Hello, " (read-line) "!"))
