-- The database stays for the session: it is the file database.db in the workspace.
DROP TABLE IF EXISTS books;
CREATE TABLE books (title TEXT NOT NULL, author TEXT, year INTEGER);

INSERT INTO books VALUES
  ('Notes on the Analytical Engine', 'Ada Lovelace', 1843),
  ('The Art of Computer Programming', 'Donald Knuth', 1968),
  ('Beowulf', NULL, NULL);

SELECT author, year, title FROM books ORDER BY year DESC NULLS LAST;

SELECT count(*) AS books, count(author) AS authors FROM books;
