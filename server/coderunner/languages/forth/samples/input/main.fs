create name 80 allot

: ask ( -- )
  ." What is your name? "
  name 80 stdin read-line throw drop
  ." Hello, " name swap type ." !" cr ;

ask bye
