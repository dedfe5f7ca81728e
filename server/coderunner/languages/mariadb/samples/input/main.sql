-- The standard input is a table of one column here.
CREATE TEMPORARY TABLE people (name text);
LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE people;

SELECT concat('Hello, ', name, '!') AS greeting FROM people;
