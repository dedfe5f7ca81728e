." before" cr
1 0 / .
." never" cr
bye
