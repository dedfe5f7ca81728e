(doseq [[number argument] (map-indexed vector *command-line-args*)]
  (println (inc number) argument))
