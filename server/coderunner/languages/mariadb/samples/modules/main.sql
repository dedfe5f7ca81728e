source shapes/circle.sql

SELECT round(circle_area(2), 3) AS area;
