-- Two statements that both happen or both do not, and a procedure that insists on it.
CREATE TEMPORARY TABLE accounts (name text PRIMARY KEY, balance integer CHECK (balance >= 0));
INSERT INTO accounts VALUES ('Ada', 100), ('Grace', 20);

DO $$
BEGIN
  UPDATE accounts SET balance = balance + 150 WHERE name = 'Grace';
  UPDATE accounts SET balance = balance - 150 WHERE name = 'Ada';
EXCEPTION WHEN check_violation THEN
  RAISE NOTICE 'Ada has not so much';
END
$$;

SELECT * FROM accounts ORDER BY name;
