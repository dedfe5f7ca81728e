;;; guile run.scm FILE [ARGUMENT...]: as guile FILE, but each form is compiled before it is run, as Guile knows no places in
;;; what it interprets; an error that ends the program is preceded by a line with its place, PATH:LINE:COLUMN: MESSAGE.

(define-module (coderunner run)
  #:use-module (system base compile)
  #:use-module (system vm frame)
  #:use-module (system vm loader)
  #:use-module (system vm program))

(define folder (string-append (getcwd) "/"))

(define (relative file)
  "The path of a file in the workspace, or #f."
  (and (string? file) (string-prefix? folder file) (substring file (string-length folder))))

(define (place frame)
  "(path line column), from 1, of what a frame was doing, if that is in a file of the workspace."
  (let* ((source (frame-source frame)) (path (and source (relative (source:file source)))))
    (and path (list path (source:line-for-user source) (+ 1 (source:column source))))))

(define begun '())  ; the source properties of the form that is run

(define (error-place)
  "(path line column) of the innermost frame whose source is known, else of the form that is run; #f where it is not, too."
  (let* ((stack (make-stack #t)) (frames (if stack (stack-length stack) 0)))
    (let next ((index 0))
      (if (< index frames)
          (or (place (stack-ref stack index)) (next (+ index 1)))
          (let ((path (relative (assq-ref begun 'filename))))
            (and path (list path (+ 1 (assq-ref begun 'line)) (+ 1 (assq-ref begun 'column)))))))))

(define (last-line text)
  (let ((lines (filter (lambda (line) (not (string-null? line))) (string-split text #\newline))))
    (if (null? lines) "" (car (last-pair lines)))))

(define (say-place key arguments)
  (let ((found (error-place)))
    (when found
      (force-output)
      (format (current-error-port) "~a:~a:~a: ~a\n" (car found) (cadr found) (caddr found)
              (last-line (call-with-output-string (lambda (port) (print-exception port #f key arguments))))))))

(define (run-forms port)
  (set! begun '())
  (let ((form (read port)))
    (unless (eof-object? form)
      (set! begun (source-properties form))
      ((load-thunk-from-memory
        (compile form #:from 'scheme #:to 'bytecode #:env (current-module)
                 #:optimization-level 0 #:warning-level 0)))
      (run-forms port))))

(let ((port (open-input-file (string-append folder (cadr (program-arguments))) #:guess-encoding #t)))
  (set-program-arguments (cdr (program-arguments)))
  (set-current-module (resolve-module '(guile-user)))
  (with-throw-handler #t
    (lambda () (run-forms port))
    (lambda (key . arguments)
      (unless (eq? key 'quit) (false-if-exception (say-place key arguments))))))
