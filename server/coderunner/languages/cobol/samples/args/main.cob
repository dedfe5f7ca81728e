identification division.
program-id. arguments.
data division.
working-storage section.
01 argument pic x(64).
01 total pic 99.
01 number-of pic 9.
procedure division.
    accept total from argument-number
    perform varying number-of from 1 by 1 until number-of > total
        accept argument from argument-value
        display number-of " " function trim(argument)
    end-perform
    stop run.
