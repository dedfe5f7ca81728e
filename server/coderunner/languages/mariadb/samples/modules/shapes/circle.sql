CREATE OR REPLACE FUNCTION circle_area(radius double) RETURNS double DETERMINISTIC
RETURN pi() * radius * radius;
