SELECT 'before' AS moment;
SELECT title FROM no_such_table;
SELECT 'never' AS moment;
