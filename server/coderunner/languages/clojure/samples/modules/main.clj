(require '[shapes.circle :as circle])

(println (format "%.3f" (circle/area 2)))
