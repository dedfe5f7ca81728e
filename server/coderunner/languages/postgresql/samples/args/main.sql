-- Arguments are the variables arg1, arg2 and so on.
SELECT * FROM (VALUES (1, :'arg1'), (2, :'arg2'), (3, :'arg3')) AS arguments (number, argument);
