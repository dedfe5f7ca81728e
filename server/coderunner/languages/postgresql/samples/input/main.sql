-- The standard input is a table of one column here.
CREATE TEMPORARY TABLE people (name text);
\copy people FROM pstdin

SELECT 'Hello, ' || name || '!' AS greeting FROM people;
