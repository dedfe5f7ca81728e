identification division.
program-id. circle.
data division.
linkage section.
01 radius pic 99v999.
01 area-of pic 99.999.
procedure division using radius area-of.
    compute area-of = function pi * radius ** 2
    goback.
