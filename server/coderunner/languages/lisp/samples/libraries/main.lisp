(require :asdf)
(let ((*standard-output* (make-broadcast-stream)) (*error-output* (make-broadcast-stream)))
  (asdf:load-systems "alexandria" "bordeaux-threads" "cl-ppcre" "split-sequence"))

(print (funcall (intern "FLATTEN" :alexandria) '(1 (2 (3)))))
(print (funcall (intern "REGEX-REPLACE-ALL" :cl-ppcre) "a+" "caat" "o"))
(print (funcall (intern "SPLIT-SEQUENCE" :split-sequence) #\, "a,b"))
(print (funcall (intern "JOIN-THREAD" :bordeaux-threads)
                (funcall (intern "MAKE-THREAD" :bordeaux-threads) (lambda () 42))))
