CREATE OR REPLACE FUNCTION circle_area(radius double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE
RETURN pi() * radius ^ 2;
