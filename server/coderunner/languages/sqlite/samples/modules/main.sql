.read shapes/circle.sql

SELECT round(area, 3) AS area FROM circles WHERE radius = 2;
