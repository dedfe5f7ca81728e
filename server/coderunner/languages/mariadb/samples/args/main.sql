-- Arguments are the variables @arg1, @arg2 and so on.
SELECT 1 AS number, @arg1 AS argument
UNION SELECT 2, @arg2
UNION SELECT 3, @arg3;
