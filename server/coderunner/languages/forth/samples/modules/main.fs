require shapes/circle.fs

2e circle-area 6 3 0 f.rdp cr
bye
