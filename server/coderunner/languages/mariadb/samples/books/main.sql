-- The database stays for the session.
DROP TABLE IF EXISTS books;
CREATE TABLE books (
  id integer AUTO_INCREMENT PRIMARY KEY,
  title varchar(100) NOT NULL,
  author varchar(100),
  year integer CHECK (year > 0)
);

INSERT INTO books (title, author, year) VALUES
  ('Notes on the Analytical Engine', 'Ada Lovelace', 1843),
  ('The Art of Computer Programming', 'Donald Knuth', 1968),
  ('Beowulf', NULL, NULL);

SELECT author, year, title FROM books ORDER BY year DESC;

SELECT count(*) AS books, count(author) AS authors FROM books;
