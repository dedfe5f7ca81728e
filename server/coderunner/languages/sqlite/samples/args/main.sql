-- Arguments are ?1, ?2 and so on.
WITH arguments(number, argument) AS (VALUES (1, ?1), (2, ?2), (3, ?3))
SELECT * FROM arguments;
