;;; sbcl --script run.fasl FILE [ARGUMENT...]: as sbcl --script FILE, but an error that ends the program is preceded by a line
;;; with its place, PATH:LINE:COLUMN: MESSAGE, which SBCL says of no file that it loads as a script.

(defpackage :coderunner-run (:use :cl))
(in-package :coderunner-run)

(defun read-form (path index)
  "The form of this index in a file, and a table of the positions (octets) of its lists."
  (let ((places (make-hash-table :test 'eq))
        (*readtable* (copy-readtable))
        (*read-eval* nil)
        (read-list (get-macro-character #\()))
    (set-macro-character
     #\( (lambda (stream character)
           (let* ((start (1- (file-position stream)))
                  (form (funcall read-list stream character)))
             (when (consp form) (setf (gethash form places) start))
             form)))
    (with-open-file (stream path)
      (loop repeat index do (read stream))
      (values (read stream) places))))

(defun subforms (form number)
  "The forms that lead to the one that the debugger has by this number, the smallest first."
  (let* ((paths (sb-di:form-number-translations form 0))
         (path (if (< number (length paths)) (reverse (aref paths number)) '(0)))
         (found '()))
    (loop for index in path
          for inner = form then (and (consp inner) (nth index inner))
          do (push inner found))
    found))

(defun line-and-column (path position)
  (with-open-file (stream path)
    (let ((line 1) (column 1))
      (loop while (< (file-position stream) position)
            do (if (char= (read-char stream) #\Newline) (setf line (1+ line) column 1) (incf column)))
      (values line column))))

(defun place (path index number)
  "(path line column) of a form of a file; nil if it cannot be told."
  (multiple-value-bind (form places) (read-form path index)
    (let ((position (loop for one in (subforms form number) thereis (gethash one places))))
      (when position (multiple-value-call #'list path (line-and-column path position))))))

(defun code-place (frame)
  "The place in the workspace of what a frame was doing, or nil."
  (let* ((location (sb-di:frame-code-location frame))
         (name (sb-di:debug-source-namestring (sb-di:code-location-debug-source location)))
         (path (and name (probe-file name))))
    (when (and path (below-p (namestring *default-pathname-defaults*) (namestring path)))
      (place path (sb-di:code-location-toplevel-form-offset location) (sb-di:code-location-form-number location)))))

(defun below-p (start text)
  (and (<= (length start) (length text)) (string= start text :end2 (length start))))

(defun loaded-place (frame)
  "The place of the form that is being loaded, if this is the frame that evaluates it."
  (multiple-value-bind (name arguments) (sb-debug::frame-call frame)
    (when (and (eq name 'sb-impl::eval-tlf) *load-truename*)
      (place *load-truename* (second arguments) 0))))

(defun error-place ()
  (sb-debug:map-backtrace
   (lambda (frame)
     (let ((found (or (ignore-errors (code-place frame)) (ignore-errors (loaded-place frame)))))
       (when found (return-from error-place found))))))

(defun say-place (condition)
  (let ((found (ignore-errors (error-place))))
    (when found
      (destructuring-bind (path line column) found
        (let ((text (ignore-errors (princ-to-string condition))))
          (format *error-output* "~&~a:~d:~d: ~a~%" (enough-namestring path) line column
                  (one-line text)))))))

(defun one-line (text)
  "The text with a space for each line's end and what stands before and behind it."
  (with-output-to-string (out)
    (let ((pending nil) (begun nil))
      (loop for each across text
            do (cond ((member each '(#\Space #\Tab #\Newline)) (setf pending t))
                     (t (when (and pending begun) (write-char #\Space out))
                        (setf pending nil begun t)
                        (write-char each out)))))))

(let ((hook sb-ext:*invoke-debugger-hook*))
  (setf sb-ext:*invoke-debugger-hook*
        (lambda (condition previous)
          (unless (typep condition 'sb-sys:interactive-interrupt) (ignore-errors (say-place condition)))
          (funcall hook condition previous))))

(let ((*package* (find-package :cl-user))
      (file (second sb-ext:*posix-argv*)))  ; without sbcl's own options, and without its script
  (setf (rest sb-ext:*posix-argv*) (cddr sb-ext:*posix-argv*))
  (sb-impl::process-script file))
