\ A character is as many bytes as it needs; all but its first begin with the bits 10.
: length ( c-addr u -- n )
  0 -rot over + swap ?do
    i c@ $C0 and $80 <> if 1+ then
  loop ;

: show ( c-addr u -- )
  2dup type space length 0 .r cr ;

s" Grüße" show
s" Привет" show
s" こんにちは" show
s" 🙂" show
bye
