CREATE TEMPORARY TABLE accounts (name TEXT PRIMARY KEY, balance INTEGER CHECK (balance >= 0));
INSERT INTO accounts VALUES ('Ada', 100);
UPDATE accounts SET balance = balance - 150 WHERE name = 'Ada';
SELECT 'never' AS moment;
