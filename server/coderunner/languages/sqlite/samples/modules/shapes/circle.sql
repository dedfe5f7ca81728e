CREATE TEMPORARY VIEW circles AS
SELECT value AS radius, pi() * value * value AS area FROM generate_series(1, 3);
