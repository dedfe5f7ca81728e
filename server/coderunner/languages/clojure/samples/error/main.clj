(println "before")
(println (/ 1 0))
(println "never")
