(defun circle-area (radius)
  (* pi radius radius))
