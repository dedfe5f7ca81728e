CREATE TEMPORARY TABLE accounts (name text PRIMARY KEY, balance integer CHECK (balance >= 0));
INSERT INTO accounts VALUES ('Ada', 100);
UPDATE accounts SET balance = balance - 150 WHERE name = 'Ada';
SELECT 'never' AS moment;
