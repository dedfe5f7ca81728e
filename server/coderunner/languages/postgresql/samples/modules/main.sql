\i shapes/circle.sql

SELECT round(circle_area(2)::numeric, 3) AS area;
