identification division.
program-id. areas.
data division.
working-storage section.
01 radius pic 99v999 value 2.
01 area-of pic 99.999.
procedure division.
    call "circle" using radius area-of
    display function trim(area-of)
    stop run.
