-- The standard input is a table of one column here.
CREATE TEMPORARY TABLE people (name TEXT);
.import --csv /dev/stdin people

SELECT 'Hello, ' || name || '!' AS greeting FROM people;
