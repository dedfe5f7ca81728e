(ns shapes.circle)

(defn area [radius]
  (* Math/PI radius radius))
