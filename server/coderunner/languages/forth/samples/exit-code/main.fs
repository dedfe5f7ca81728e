." leaving with 7" cr
7 (bye)
